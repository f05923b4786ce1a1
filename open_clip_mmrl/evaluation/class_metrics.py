"""What is confused with what: recall and precision of every class, and pairs of classes.

Counted here rather than by scikit-learn, whose import takes a second; the tests compare the two.
Shapes: N images, C classes. The answer is the class of the largest score; of several, the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import torch
from torch import Tensor

from .metrics import accuracy


@dataclass(frozen=True)
class ClassMetrics:
    """One class's images and answers; recall and precision in percent."""

    name: str
    images: int
    answers: int
    """How often the class was the answer, right or wrong."""
    recall: float | None
    """Share of its images whose answer was right, its accuracy; None without images."""
    precision: float | None
    """Share of its answers that were right; None without answers."""


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were taken for another."""

    true: str
    predicted: str
    count: int


@dataclass(frozen=True)
class Confusions:
    """Right and wrong answers of one pass over images; accuracies in percent."""

    accuracy: float
    balanced_accuracy: float
    classes: tuple[ClassMetrics, ...]
    """In the order of the labels."""
    pairs: tuple[ConfusedPair, ...]
    """All that occur, the most frequent first; equal ones in the order of the labels."""

    def worst(self) -> list[ClassMetrics]:
        """Return the classes with images, the lowest recall first; of equal ones the largest."""
        found = [one for one in self.classes if one.recall is not None]
        return sorted(found, key=lambda one: (one.recall, -one.images))


def confusions(scores: Tensor, labels: Tensor, names: Sequence[str]) -> Confusions:
    """Return what scores [N, C] answer, compared with labels [N]; `names` are the C classes'.

    Raises:
        ValueError: no images, or labels that are not among the C classes.
    """
    right = accuracy(scores, labels)
    answers = scores.argmax(dim=1)
    images, answered, hits = (
        torch.bincount(some, minlength=len(names)).tolist()
        for some in (labels, answers, labels[answers == labels])
    )
    classes = tuple(
        ClassMetrics(name, n, k, _percent(h, n), _percent(h, k))
        for name, n, k, h in zip(names, images, answered, hits, strict=True)
    )
    balanced = balanced_accuracy([one.recall for one in classes])
    return Confusions(right, balanced, classes, _pairs(labels, answers, names))


def balanced_accuracy(recalls: Sequence[float | None]) -> float:
    """Return the mean recall of the classes that have images (those without have None)."""
    return mean(recall for recall in recalls if recall is not None)


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _pairs(labels: Tensor, answers: Tensor, names: Sequence[str]) -> tuple[ConfusedPair, ...]:
    wrong = answers != labels
    pairs, counts = torch.stack([labels[wrong], answers[wrong]], dim=1).unique(
        dim=0, return_counts=True
    )
    found = zip(pairs.tolist(), counts.tolist(), strict=True)
    ranked = sorted(found, key=lambda item: -item[1])
    return tuple(ConfusedPair(names[i], names[j], count) for (i, j), count in ranked)
