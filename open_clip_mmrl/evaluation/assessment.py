"""All that one pass over images tells about a model: right and wrong, and how sure it was.

Shapes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from .class_metrics import Confusions, confusions
from .metrics import ReliabilityBin, calibration_error, reliability


@dataclass(frozen=True, eq=False)  # eq: tensors have no single answer to ==
class Assessment:
    """The answers of one model to N images.

    The confidence is the largest softmax probability of the scores that the answer comes from.
    """

    confusions: Confusions
    calibration_error: float
    """In percent."""
    bins: tuple[ReliabilityBin, ...]
    labels: Tensor
    answers: Tensor
    """[N], classes as in `labels`."""
    confidence: Tensor
    """[N], 0 to 1."""
    of_true_class: Tensor
    """The probability of the label, [N], 0 to 1."""

    def mistakes(self) -> list[int]:
        """Return the images whose answer is wrong, the most confident first."""
        order = self.confidence.argsort(descending=True, stable=True)
        return order[(self.answers != self.labels)[order]].tolist()


def assess(scores: Tensor, labels: Tensor, names: Sequence[str]) -> Assessment:
    """Return what scores [N, C], logits or log probabilities, tell about labels [N].

    Raises:
        ValueError: no images, or labels that are not among the C classes.
    """
    found = confusions(scores, labels, names)
    probabilities = scores.softmax(dim=1)
    answers = scores.argmax(dim=1)
    rows = torch.arange(len(labels))
    return Assessment(
        confusions=found,
        calibration_error=calibration_error(probabilities, labels),
        bins=reliability(probabilities, labels),
        labels=labels,
        answers=answers,
        confidence=probabilities[rows, answers],
        of_true_class=probabilities[rows, labels],
    )


def assessment_json(adapted: Assessment, frozen: Assessment) -> dict[str, Any]:
    """Return both models' numbers as JSON; accuracies and errors in percent, 4 digits."""
    ours, theirs = adapted.confusions, frozen.confusions
    recall_of_frozen = {one.name: one.recall for one in theirs.classes}
    per_class = {}
    for one in ours.classes:
        numbers = {"recall": one.recall, "precision": one.precision}
        numbers["zero_shot_recall"] = recall_of_frozen[one.name]
        rounded = {key: None if v is None else _rounded(v) for key, v in numbers.items()}
        per_class[one.name] = {"images": one.images, "answers": one.answers, **rounded}
    return {
        "accuracy": _rounded(ours.accuracy),
        "zero_shot": _rounded(theirs.accuracy),
        "balanced_accuracy": _rounded(ours.balanced_accuracy),
        "zero_shot_balanced_accuracy": _rounded(theirs.balanced_accuracy),
        "calibration_error": _rounded(adapted.calibration_error),
        "zero_shot_calibration_error": _rounded(frozen.calibration_error),
        "per_class": per_class,
        "confused": [asdict(pair) for pair in ours.pairs],
    }


def _rounded(value: float) -> float:
    return round(value, 4)
