"""`FewShotClassifier`: scikit-learn's contract over training and scoring, for images.

`images` and `labels` check what is given, `nested` has the parameters within `config` and `train`.
The command line does not import it: scikit-learn takes a second.
"""

from .estimator import FewShotClassifier as FewShotClassifier
