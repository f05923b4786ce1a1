"""Numbers from scores and labels: accuracies, calibration, curves. All in percent.

Shapes: N images, C classes. Scores are logits or probabilities; labels are 0 .. C-1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import Fusion
from .logits import Logits, Scoring

BINS = 15
"""Of confidence, in calibration errors and reliability diagrams."""


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Return the top-1 accuracy of scores [N, C]."""
    return 100 * _right(scores, labels).double().mean().item()


def per_class_accuracy(scores: Tensor, labels: Tensor, num_classes: int) -> list[float | None]:
    """Return every class's top-1 accuracy, in their order; None for a class without images."""
    right = _right(scores, labels)
    if labels.max() >= num_classes:
        raise ValueError(f"a label is {int(labels.max())}, but there are {num_classes} classes.")
    count = torch.bincount(labels, minlength=num_classes)
    hits = torch.bincount(labels[right], minlength=num_classes)
    return [100 * h / n if n else None for h, n in zip(hits.tolist(), count.tolist(), strict=True)]


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy.

    The differences of the mean confidence and the accuracy of `reliability`'s bins are averaged by
    their numbers of images.
    Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017), equation 5.
    """
    confidence, right, place = _binned(probabilities, labels, bins)
    gap = torch.bincount(place, weights=confidence - right, minlength=bins)
    return 100 * gap.abs().sum().item() / len(labels)


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose confidence is above `low` and not above `high`; both in percent."""

    low: float
    high: float
    images: int
    confidence: float | None
    """Mean; None without images."""
    accuracy: float | None


def reliability(
    probabilities: Tensor, labels: Tensor, bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """Return the bins of a reliability diagram: of equal width, by the largest probability."""
    confidence, right, place = _binned(probabilities, labels, bins)
    counts = torch.bincount(place, minlength=bins).tolist()
    sums = [torch.bincount(place, w, minlength=bins).tolist() for w in (confidence, right)]
    return tuple(
        ReliabilityBin(
            low=100 * i / bins,
            high=100 * (i + 1) / bins,
            images=count,
            confidence=100 * sums[0][i] / count if count else None,
            accuracy=100 * sums[1][i] / count if count else None,
        )
        for i, count in enumerate(counts)
    )


def _binned(probabilities: Tensor, labels: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return every image's confidence, whether it is right (0 or 1), and its bin, [N] each."""
    if bins < 1:
        raise ValueError(f"bins is {bins}; it has to be 1 or more.")
    right = _right(probabilities, labels)
    probabilities = probabilities.double()
    if probabilities.min() < 0 or (probabilities.sum(dim=1) - 1).abs().max() > 1e-2:
        raise ValueError(
            "these scores are not probabilities: some are negative, or do not add up to 1. Give "
            "logits.softmax(dim=1)."
        )
    confidence = probabilities.max(dim=1).values
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)
    return confidence, right.double(), torch.bucketize(confidence, edges[1:-1])


def alpha_curve(
    logits: Logits, fusion: Fusion = "logits", steps: int = 11
) -> list[tuple[float, float]]:
    """Return (alpha, accuracy by both features) at `steps` values of alpha from 0 to 1.

    One trained model, mixed in many ways; the paper's Table 5 trains one model for every alpha.
    """
    if steps < 2:
        raise ValueError(f"steps is {steps}; it has to be 2 or more, since both ends count.")
    alphas = [step / (steps - 1) for step in range(steps)]
    return [
        (a, accuracy(logits.scores(Scoring("fused", a, fusion)), logits.labels)) for a in alphas
    ]


def generalized(logits: Logits, seen: Tensor, alpha: float) -> dict[str, float]:
    """Return the generalized zero-shot (GZSL) accuracy: one classifier of base and novel classes.

    Every image is scored against all C classes: those seen in training by both features (the mix
    of logits), the new ones by the class feature alone; where the mean image is known, all by both
    features, less what it scores. Beyond the paper's protocol, in which the classifier holds either
    the base or the novel classes.

    Args:
        logits: of test images of all C classes.
        seen: bool [C], True for classes seen in training.
        alpha: weight of the class feature in the mix.

    Returns:
        "seen": accuracy on images of seen classes, "unseen": of new ones, "hm": their harmonic
        mean.
    """
    if seen.dtype != torch.bool or seen.shape != logits.by_class.shape[1:]:
        raise ValueError(
            f"seen is {seen.dtype} of shape {tuple(seen.shape)}; for these logits it has to be "
            f"torch.bool of shape ({logits.by_class.shape[1]},)."
        )
    _check(logits.by_class, logits.labels)
    centered = logits.mean is not None
    scores = logits.scores(Scoring.of_mixed(alpha, seen.tolist(), centered=centered))
    of_seen = seen[logits.labels]
    base = accuracy(scores[of_seen], logits.labels[of_seen])
    novel = accuracy(scores[~of_seen], logits.labels[~of_seen])
    return {"seen": base, "unseen": novel, "hm": harmonic_mean(base, novel)}


def _check(scores: Tensor, labels: Tensor) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(
            f"scores are {tuple(scores.shape)} and labels {tuple(labels.shape)}; they have to be "
            "[images, classes] and [images]."
        )
    if not len(labels):
        raise ValueError("there are no images to score.")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ValueError(
            f"labels are {int(labels.min())} to {int(labels.max())}, but the scores are of "
            f"{scores.shape[1]} classes: 0 to {scores.shape[1] - 1}."
        )


def _right(scores: Tensor, labels: Tensor) -> Tensor:
    """Return whether the best score is the label's, bool [N]."""
    _check(scores, labels)
    return scores.argmax(dim=1) == labels


def harmonic_mean(base: float, novel: float) -> float:
    """Return the harmonic mean of two accuracies; 0 where one of them is 0."""
    return 2 * base * novel / (base + novel) if base and novel else 0.0
