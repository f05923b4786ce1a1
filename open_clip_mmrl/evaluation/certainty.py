"""How answers about an adapter's own classes are judged.

Without scikit-learn, whose import takes a second: `conformal` has what needs it.

Shapes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Certainty:
    """How answers about an adapter's own classes are judged."""

    temperature: float = 1.0
    """Of the probabilities that are shown."""
    sets: Callable[[Tensor], Tensor] | None = None
    """Turns probabilities at temperature 1, [N, C], into sets, bool [N, C]."""
    reject_up_to: float | None = None
    """The `max_softmax` up to which an image is none of the classes."""


def max_softmax(scores: Tensor, scale: float) -> Tensor:
    """Return the maximum softmax of cosines at temperature 1, [N]: low where no class fits.

    Args:
        scores: logits [N, C], of one feature or mixed; no probabilities.
        scale: of the logits, by which they are cosines again.
    """
    return (scores.double() / scale).softmax(dim=1).max(dim=1).values
