"""Scoring images against the classes of a text classifier.

Shapes: N images, B of them at a time, C classes, E embedding width.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .data.prompts import readable
from .errors import UsageError
from .model import MMRLCLIP
from .precision import autocast
from .progress import Progress
from .task import cosine_logits, unit

FUSIONS = ("logits", "probabilities")
SCORED = ("class", "fused", "frozen")


@dataclass(frozen=True)
class Classifier:
    """Text features of a set of classes, [C, E], unit length, float32 or better."""

    text: Tensor
    """w, with tokens."""
    frozen: Tensor
    """w_0, of frozen CLIP."""


@dataclass(frozen=True)
class Predictions:
    """What a pass over N images gave."""

    scores: Tensor
    """Logits, or log probabilities where probabilities were mixed, [N, C], on the CPU."""
    labels: Tensor
    """[N]."""
    images_per_second: float
    """Of the model alone; reading the images is not counted."""

    @property
    def accuracy(self) -> float:
        """Top-1, percent."""
        return 100 * (self.scores.argmax(dim=1) == self.labels).double().mean().item()


@torch.no_grad()
def build_classifier(model: MMRLCLIP, tokens: Tensor, precision: str = "fp32") -> Classifier:
    """Text features of prompts [C, context length], computed once and passed as a value."""
    device = model.visual.proj.device
    with autocast(precision, device):
        prompts = model.text_tower.lower(tokens.to(device))
        return Classifier(
            text=unit(model.adapted_text_features(prompts, model.learner()[1])),
            frozen=unit(model.frozen_text_features(prompts)),
        )


def class_scores(
    model: MMRLCLIP,
    classifier: Classifier,
    images: Tensor,
    features: str = "class",
    fusion: str = "logits",
) -> Tensor:
    """Scores [B, C] of images [B, 3, H, W].

    Args:
        features: "class" for new classes, "fused" for classes seen in training, "frozen" for
            the base model.
        fusion: how "fused" mixes: "logits" as the released code, which made the published
            numbers; "probabilities" as the paper's text (returned as log probabilities).
    """
    if features not in SCORED:
        raise UsageError(f"features is {features!r}; it has to be one of {SCORED}.")
    if fusion not in FUSIONS:
        raise UsageError(f"fusion is {fusion!r}; it has to be one of {FUSIONS}.")

    def logits(feature: Tensor, text: Tensor) -> Tensor:
        return cosine_logits(model, unit(feature).to(text.dtype), text)

    hidden = model.image_tower.lower(images)
    if features == "frozen":
        return logits(model.frozen_image_features(hidden), classifier.frozen)
    both = model.adapted_image_features(hidden, model.learner()[0])
    by_class = logits(both.class_, classifier.text)
    if features == "class":
        return by_class
    by_rep, alpha = logits(both.representation, classifier.text), model.config.alpha
    if fusion == "logits":
        return alpha * by_class + (1 - alpha) * by_rep
    return (alpha * by_class.softmax(-1) + (1 - alpha) * by_rep.softmax(-1)).log()


@torch.no_grad()
def predict(
    model: MMRLCLIP,
    classifier: Classifier,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    features: str = "class",
    fusion: str = "logits",
    precision: str = "fp32",
    progress: Progress | None = None,
) -> Predictions:
    """Score every batch (images [B, 3, H, W], labels [B]) of an iterable, in order."""
    device = classifier.text.device
    scores, labels, seconds = [], [], 0.0
    for images, targets in batches:
        start = time.perf_counter()
        with autocast(precision, device):
            found = class_scores(model, classifier, images.to(device), features, fusion)
        scores.append(found.cpu())  # waits for the device, so the clock below is honest
        seconds += time.perf_counter() - start
        labels.append(torch.as_tensor(targets))
        if progress is not None:
            progress.advance(1, images=len(images))
    if not scores:
        raise ValueError("there are no images to score.")
    count = sum(len(part) for part in scores)
    return Predictions(torch.cat(scores), torch.cat(labels), count / max(seconds, 1e-9))


def choose_features(requested: str, classes: Iterable[str], seen: Iterable[str]) -> tuple[str, str]:
    """What "auto" means for these classes: (features, one sentence that says why).

    Raises:
        UsageError: some classes were seen in training and some were not; the user chooses.
    """
    if requested != "auto":
        if requested not in SCORED:
            raise UsageError(f"features is {requested!r}; it has to be auto or one of {SCORED}.")
        return requested, f"{requested} features, as asked"
    classes, seen = list(classes), {readable(name) for name in seen}
    if not seen:
        raise UsageError(
            "the adapter names no classes, so auto cannot tell seen from new ones: choose "
            "--features fused or --features class."
        )
    known = [name for name in classes if readable(name) in seen]
    if not known:
        return "class", f"class feature: none of the {len(classes)} classes was seen in training"
    if len(known) == len(classes):
        return "fused", f"both features: all {len(classes)} classes were seen in training"
    raise UsageError(
        f"{len(known)} of the {len(classes)} classes were seen in training ({known[0]}, ...) and "
        f"{len(classes) - len(known)} were not: choose --features fused (both features, best for "
        "seen classes) or --features class (the class feature, best for new ones), or score the "
        "halves apart with --classes base and --classes novel."
    )
