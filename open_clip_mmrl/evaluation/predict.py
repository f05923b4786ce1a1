"""Scoring images against the classes of a text classifier.

Shapes: N images, B of them at a time, C classes, E embedding width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import FUSIONS
from ..data.prompts import readable
from ..errors import UsageError
from ..models.mmrl_clip import MMRLCLIP
from ..models.ops import cosine_logits, mix, unit
from ..models.precision import autocast, half_weights
from ..utils.oom import oom_hint
from ..utils.progress import Progress
from .metrics import accuracy

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
        return accuracy(self.scores, self.labels)


class RawLogits(NamedTuple):
    """Logits of one batch by every feature, [B, C] each: nothing mixed yet."""

    by_class: Tensor
    by_rep: Tensor | None
    """None where the model has no image tokens."""
    frozen: Tensor
    """Of the base model: its image feature against its text features."""


@dataclass(frozen=True)
class AllPredictions:
    """What a pass over N images gave by every feature, for `scores` to look at: any mix, the
    class feature alone, frozen CLIP. Three times [N, C], on the CPU.
    """

    by_class: Tensor
    by_rep: Tensor | None
    """None where the model has no image tokens."""
    frozen: Tensor
    labels: Tensor
    """[N]."""
    images_per_second: float
    """Of the model alone, with both of its branches; `predict` runs only what it needs."""

    def fused(self, alpha: float, fusion: str = "logits") -> Tensor:
        """Scores [N, C] of both features, as `class_scores` mixes them."""
        return mix(self.by_class, self.by_rep, alpha, fusion)


@torch.no_grad()
def build_classifier(model: MMRLCLIP, tokens: Tensor, precision: str = "fp32") -> Classifier:
    """Text features of prompts [C, context length], computed once and passed as a value."""
    device = model.visual.proj.device
    with (
        _enough_memory(len(tokens), precision),
        half_weights(model, precision),
        autocast(precision, device),
    ):
        prompts = model.text_tower.lower(tokens.to(device))
        frozen, text_tokens = unit(model.frozen_text_features(prompts)), model.learner()[1]
        if text_tokens is None:
            return Classifier(text=frozen, frozen=frozen)
        return Classifier(unit(model.adapted_text_features(prompts, text_tokens)), frozen)


@contextmanager
def _enough_memory(classes: int, precision: str) -> Iterator[None]:
    """Say what helps where the GPU's memory does not suffice for scoring."""
    helps = "use precision amp_bf16, or leave the GPU to this alone"
    with oom_hint(f"scoring against {classes} classes in precision {precision}", helps):
        yield


def _logits(model: MMRLCLIP, feature: Tensor, text: Tensor) -> Tensor:
    """Image feature [B, E] as it leaves the projection, and unit text features [C, E]."""
    return cosine_logits(model, unit(feature).to(text.dtype), text)


def class_scores(
    model: MMRLCLIP,
    classifier: Classifier,
    images: Tensor,
    features: str = "class",
    fusion: str = "logits",
) -> Tensor:
    """Scores [B, C] of images [B, 3, H, W].

    Args:
        features: "class" for new classes, "fused" for classes seen in training (where there are
            no image tokens, the same as "class"), "frozen" for the base model.
        fusion: how "fused" mixes: "logits" as the released code, which made the published
            numbers; "probabilities" as the paper's text (returned as log probabilities).
    """
    if features not in SCORED:
        raise UsageError(f"features is {features!r}; it has to be one of {SCORED}.")
    if fusion not in FUSIONS:
        raise UsageError(f"fusion is {fusion!r}; it has to be one of {FUSIONS}.")
    hidden = model.image_tower.lower(images)
    if features == "frozen":
        return _logits(model, model.frozen_image_features(hidden), classifier.frozen)
    both = model.adapted_image_features(hidden, model.learner()[0])
    by_class = _logits(model, both.class_, classifier.text)
    if features == "class" or both.representation is None:
        return by_class
    by_rep = _logits(model, both.representation, classifier.text)
    return mix(by_class, by_rep, model.config.alpha, fusion)


def raw_logits(model: MMRLCLIP, classifier: Classifier, images: Tensor) -> RawLogits:
    """Logits of images [B, 3, H, W] by every feature, in one pass over the shared layers."""
    both, frozen = model.image_branches(images, model.learner()[0])
    rep = both.representation
    return RawLogits(
        by_class=_logits(model, both.class_, classifier.text),
        by_rep=None if rep is None else _logits(model, rep, classifier.text),
        frozen=_logits(model, frozen, classifier.frozen),
    )


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

    def score(images: Tensor) -> tuple[Tensor]:
        return (class_scores(model, classifier, images, features, fusion),)

    with _enough_memory(len(classifier.text), precision), half_weights(model, precision):
        (scores,), labels, speed = _pass(score, classifier, batches, precision, progress)
    return Predictions(scores, labels, speed)


@torch.no_grad()
def predict_all(
    model: MMRLCLIP,
    classifier: Classifier,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    precision: str = "fp32",
    progress: Progress | None = None,
) -> AllPredictions:
    """The logits of every batch (images [B, 3, H, W], labels [B]) by every feature, in order."""
    score = partial(raw_logits, model, classifier)
    with _enough_memory(len(classifier.text), precision), half_weights(model, precision):
        logits, labels, speed = _pass(score, classifier, batches, precision, progress)
    return AllPredictions(*logits, labels, speed)


def _pass(
    score: Callable[[Tensor], tuple[Tensor | None, ...]],
    classifier: Classifier,
    batches: Iterable[tuple[Tensor, Tensor]],
    precision: str,
    progress: Progress | None,
) -> tuple[list[Tensor | None], Tensor, float]:
    """Every kind of scores over all batches, on the CPU; labels; images per second."""
    device = classifier.text.device
    found, labels, seconds = [], [], 0.0
    for images, targets in batches:
        start = time.perf_counter()
        with autocast(precision, device):
            kinds = score(images.to(device))
        # Waits for the device, so the clock below is honest.
        found.append([None if kind is None else kind.cpu() for kind in kinds])
        seconds += time.perf_counter() - start
        labels.append(torch.as_tensor(targets))
        if progress is not None:
            progress.advance(1, images=len(images))
    if not found:
        raise ValueError("there are no images to score.")
    whole = [None if parts[0] is None else torch.cat(parts) for parts in zip(*found, strict=True)]
    return whole, torch.cat(labels), sum(map(len, labels)) / max(seconds, 1e-9)


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
