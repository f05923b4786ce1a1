"""The page of one evaluation: what is right, what is wrong, and how sure the model was.

Above `render`, whose style and table it uses. `write_evaluation` is the way in.
"""

from .write import Evaluation, require_free, write_evaluation

__all__ = ["Evaluation", "require_free", "write_evaluation"]
