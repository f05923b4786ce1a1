"""What depends on the installed versions of other packages."""

import pytest
import sklearn

HAS_TEMPERATURE = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 8)
has_temperature = pytest.mark.skipif(not HAS_TEMPERATURE, reason="scikit-learn 1.8 has it first")
