"""Scores of images against the classes of a text classifier.

Shapes: N images, B of them at a time, C classes, E embedding width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from ..config import FUSIONS
from ..errors import UsageError
from ..hub.class_tokens import warn_of_look_alikes
from ..models.features import FrozenImages
from ..models.mmrl_clip import MMRLCLIP
from ..models.ops import cosine_logits, mix, unit
from ..models.precision import autocast, in_half
from ..models.prompt_tokens import PromptTokens
from ..utils.oom import oom_hint
from ..utils.progress import Progress
from .logits import SCORED, Logits
from .metrics import accuracy


@dataclass(frozen=True)
class Classifier:
    """Text features of a set of classes, [C, E], unit length, float32 or better.

    Classes with one prompt get one score, exactly, so that the first of them is always the best.
    """

    text: Tensor
    """w, with tokens."""
    frozen: Tensor
    """w_0, of frozen CLIP."""
    first: Tensor | None = None
    """The first class that reads the same, for each, [C]; None where no two do."""

    def logits(self, model: MMRLCLIP, features: Tensor, *, frozen: bool = False) -> Tensor:
        """Return logits [B, C] of image features [B, E], of unit length or means of such."""
        text = self.frozen if frozen else self.text
        found = cosine_logits(model, features.to(text.dtype), text)
        # Even equal rows may get products that differ in the last bit.
        return found if self.first is None else found[:, self.first]


@dataclass(frozen=True)
class Predictions:
    """Scores from one pass over N images."""

    scores: Tensor
    """Logits, or log probabilities where probabilities were mixed, [N, C], on the CPU."""
    labels: Tensor
    """[N]."""
    images_per_second: float
    """Of the model alone; reading the images is not counted."""

    @property
    def accuracy(self) -> float:
        """Return the top-1 accuracy, in percent."""
        return accuracy(self.scores, self.labels)


class FrozenBatch:
    """Images [B, 3, H, W], and what frozen CLIP makes of them, computed when it is first read."""

    def __init__(self, model: MMRLCLIP, classifier: Classifier, images: Tensor) -> None:
        self.model, self.classifier, self.images = model, classifier, images

    @cached_property
    def features(self) -> Tensor:
        """Frozen image features [B, E], not normalized."""
        return self.model.encode_image(self.images, features="frozen")

    @cached_property
    def logits(self) -> Tensor:
        """Frozen logits [B, C]."""
        return _logits(self.model, self.features, self.classifier, frozen=True)

    def cosine_logits(self, features: Tensor, text: Tensor) -> Tensor:
        """Return logits [B, C] of other features [B, E] and unit text features [C, E]."""
        return _logits(self.model, features, replace(self.classifier, text=text))


Scorer = Callable[[FrozenBatch], Tensor]
"""Returns another method's logits [B, C] of the classifier's classes."""


@torch.no_grad()
def build_classifier(
    model: MMRLCLIP,
    tokens: Tensor | PromptTokens,
    precision: str = "fp32",
    class_names: Sequence[str] = (),
) -> Classifier:
    """Return the text features of prompts: computed once, then passed on.

    Args:
        model: on its device.
        tokens: one prompt per class, [C, context length], or several.
        precision: of the towers.
        class_names: of the C classes, for a warning where two of them read the same; () for none.
    """
    device, given = model.device, PromptTokens.of(tokens)
    ids = given.tokens.to(device)
    first = given.first_alike(model.text_tower.first_alike(ids))
    if torch.equal(first, torch.arange(len(first), device=device)):
        first = None
    with _enough_memory(len(ids), precision), autocast(precision, device):
        model = in_half(model, precision)
        prompts = model.text_tower.lower(ids)
        frozen = given.of_classes(model.frozen_text_features(prompts))
        text, text_tokens = frozen, model.learner()[1]
        if text_tokens is not None:
            text = given.of_classes(model.adapted_text_features(prompts, text_tokens))
    if class_names:
        warn_of_look_alikes(class_names, frozen)
    return Classifier(text, frozen, first)


@contextmanager
def _enough_memory(classes: int, precision: str) -> Iterator[None]:
    """Say what helps where the GPU's memory does not suffice for scoring."""
    helps = "use precision amp_bf16, or leave the GPU to this alone"
    with oom_hint(f"scoring against {classes} classes in precision {precision}", helps):
        yield


def _logits(
    model: MMRLCLIP, feature: Tensor, classifier: Classifier, frozen: bool = False
) -> Tensor:
    """Return logits [B, C] of image features [B, E], not normalized."""
    return classifier.logits(model, unit(feature), frozen=frozen)


def class_scores(
    model: MMRLCLIP,
    classifier: Classifier,
    images: Tensor,
    features: str = "class",
    fusion: str = "logits",
    seen: Tensor | None = None,
) -> Tensor:
    """Return scores [B, C] of images [B, 3, H, W].

    Args:
        model: the adapted model.
        classifier: of the C classes.
        images: preprocessed, on the model's device.
        features: "class" for new classes, "fused" for classes seen in training (where there are
            no image tokens, the same as "class"), "frozen" for the base model.
        fusion: how "fused" mixes: "logits" as the released code, which made the published
            numbers; "probabilities" as the paper's text (returned as log probabilities).
        seen: which classes "fused" mixes, bool [C], on the model's device; the others are scored
            by the class feature. None mixes all.
    """
    if features not in SCORED:
        raise UsageError(f"features is {features!r}; it has to be one of {SCORED}.")
    if fusion not in FUSIONS:
        raise UsageError(f"fusion is {fusion!r}; it has to be one of {FUSIONS}.")
    hidden = model.image_tower.lower(images)
    if features == "frozen":
        return _logits(model, model.frozen_image_features(hidden), classifier, frozen=True)
    both = model.adapted_image_features(hidden, model.learner()[0])
    by_class = _logits(model, both.class_, classifier)
    if features == "class" or both.representation is None:
        return by_class
    by_rep = _logits(model, both.representation, classifier)
    return mix(by_class, by_rep, model.config.alpha, fusion, seen)


def _every_feature(
    model: MMRLCLIP, classifier: Classifier, scorer: Scorer | None, images: Tensor | FrozenImages
) -> list[Tensor]:
    """Return logits [B, C] by class and by frozen, frozen features [B, E], and others.

    The last are logits by representation, with image tokens.
    """
    if scorer is not None:
        assert isinstance(images, Tensor)  # what is shared is for our learners alone
        batch = FrozenBatch(model, classifier, images)
        return [scorer(batch), batch.logits, batch.features.float()]
    both, frozen = model.image_branches(images, model.learner()[0])
    found = [
        _logits(model, both.class_, classifier),
        _logits(model, frozen, classifier, frozen=True),
        frozen.float(),
    ]
    if both.representation is not None:
        found.append(_logits(model, both.representation, classifier))
    return found


@torch.no_grad()
def predict(
    model: MMRLCLIP,
    classifier: Classifier,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    features: str = "class",
    fusion: str = "logits",
    seen: Sequence[bool] | None = None,
    precision: str = "fp32",
    progress: Progress | None = None,
    scorer: Scorer | None = None,
) -> Predictions:
    """Score every batch (images [B, 3, H, W], labels [B]) of an iterable, in order.

    For the other arguments see `class_scores`; `seen` may be any sequence of C bools. A `scorer`
    takes the model's place.
    """
    with _enough_memory(len(classifier.text), precision):
        half = in_half(model, precision)
        mixed = None if seen is None else torch.tensor(seen, device=classifier.text.device)

        def score(images: Tensor) -> list[Tensor]:
            if scorer is not None:
                return [scorer(FrozenBatch(half, classifier, images))]
            return [class_scores(half, classifier, images, features, fusion, mixed)]

        (scores,), labels, speed = _pass(score, classifier, batches, precision, progress)
    return Predictions(scores, labels, speed)


@torch.no_grad()
def predict_all(
    model: MMRLCLIP,
    classifier: Classifier,
    batches: Iterable[tuple[Tensor | FrozenImages, Tensor]],
    *,
    class_names: Sequence[str] = (),
    precision: str = "fp32",
    progress: Progress | None = None,
    scorer: Scorer | None = None,
) -> Logits:
    """Return the logits of every batch (images [B, 3, H, W], labels [B]) by every feature.

    Those of a `scorer` are in the place of the class feature's. What the frozen layers made of
    images may take their place.
    """
    with _enough_memory(len(classifier.text), precision):
        score = partial(_every_feature, in_half(model, precision), classifier, scorer)
        logits, labels, _ = _pass(score, classifier, batches, precision, progress)
    by_class, frozen, kept, *rest = logits
    return Logits(by_class, rest[0] if rest else None, frozen, labels, class_names, kept)


def _pass(
    score: Callable[[Any], list[Tensor]],
    classifier: Classifier,
    batches: Iterable[tuple[Tensor | FrozenImages, Tensor]],
    precision: str,
    progress: Progress | None,
) -> tuple[list[Tensor], Tensor, float]:
    """Return every kind of scores over all batches, on the CPU; labels; images per second."""
    device = classifier.text.device
    found: list[list[Tensor]] = []
    labels, seconds = [], 0.0
    for images, targets in batches:
        start = time.perf_counter()
        with autocast(precision, device):
            kinds = score(images.to(device))
        # Waits for the device, so the clock below is honest.
        found.append([kind.cpu() for kind in kinds])
        seconds += time.perf_counter() - start
        labels.append(torch.as_tensor(targets))
        if progress is not None:
            progress.advance(1, images=len(images))
    if not found:
        raise ValueError("there are no images to score.")
    whole = [torch.cat(parts) for parts in zip(*found, strict=True)]
    for kind in whole:
        # Not minus infinity, which is the logarithm of a probability of 0.
        broken = int((kind.isnan() | kind.isposinf()).any(dim=1).sum())
        if broken:
            raise ValueError(
                f"the model's scores of {broken} of {len(kind)} images are infinite or not a "
                "number: its training diverged, or its weights are damaged. Train again with a "
                "lower learning rate, or in precision fp32."
            )
    return whole, torch.cat(labels), sum(map(len, labels)) / max(seconds, 1e-9)
