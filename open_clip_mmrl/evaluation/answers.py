"""Answers for image files: the most probable classes of each, read and scored as a stream.

Shapes: B images at a time, C classes, H x W the model's input size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ..data.loading.images import eval_transform
from ..data.more_prompts import MorePrompts, require_prompts
from ..errors import UsageError
from ..hub.adapter_info import AdapterInfo
from ..hub.class_tokens import usable_names
from ..hub.load import LoadedModel
from ..models.mmrl_clip import MMRLCLIP
from ..models.ops import logit_scale
from ..utils.progress import Progress
from .certainty import Certainty, max_softmax
from .choose_features import require_different
from .image_batches import image_batches
from .logits import Logits, Scoring
from .mean_image import ImageMeans, mean_logits
from .predict import Classifier, build_classifier, predict, predict_all


@dataclass(frozen=True)
class RankedClass:
    """A class and its probability among all classes of the ranking."""

    name: str
    probability: float
    seen: bool
    """Seen in training; new classes are known by their names alone."""


@dataclass(frozen=True)
class Answer:
    """What the model says of one image file."""

    image: str
    """Its path, as given."""
    classes: tuple[RankedClass, ...] = ()
    """The most probable ones, best first; () where the image cannot be read."""
    error: str = ""
    """Why it cannot be read."""
    set: tuple[str, ...] | None = None
    """The classes of its set, the most probable first; None where no sets are wanted."""
    rejected: bool | None = None
    """Whether it is none of the classes; None where nothing is rejected."""


@dataclass(frozen=True)
class Ranking:
    """A model and the classes that it ranks. Probabilities add up to 1 over all C classes.

    Those of seen classes alone are the mix of both features' probabilities, as the paper writes;
    those of new classes alone the softmax of the class feature's logits; those of seen and new ones
    in one ranking the softmax of the logits of generalized accuracy: both features' mix for seen
    classes, the class feature's for new ones, or as `mixed` has it otherwise.
    """

    model: MMRLCLIP
    classifier: Classifier
    names: tuple[str, ...]
    """Of the C classes."""
    seen: tuple[bool, ...]
    """Which of them were seen in training."""
    precision: str = "fp32"
    certainty: Certainty = field(default_factory=Certainty)
    """How the answers are judged, where no class is new."""
    mixed: Scoring | None = None
    """How seen and new classes are scored in one ranking, where that is not as above."""
    mean: Logits | None = None
    """What the mean image scores, where `mixed` is centered."""

    @property
    def has_new(self) -> bool:
        """Return whether any class is new."""
        return not all(self.seen)

    def probabilities(self, images: Tensor, fusion: str = "probabilities") -> Tensor:
        """Return the probabilities of preprocessed images [B, 3, H, W], float64 [B, C].

        Args:
            images: on any device.
            fusion: how both features are mixed where all classes were seen; see `class_scores`.
        """
        return (self._scores(images, fusion) / self.certainty.temperature).softmax(dim=1)

    def judge(self, images: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return probabilities [B, C], sets, bool [B, C], and rejections, bool [B].

        The last two are None where they are not wanted.
        """
        judged, rejected = self.certainty, None
        if judged.reject_up_to is None:
            scores = self._scores(images)
        else:
            logits = predict_all(
                self.model, self.classifier, _one(images), precision=self.precision
            )
            seen = Scoring("fused", self.model.config.alpha)
            scores = logits.scores(replace(seen, fusion="probabilities")).double()
            fits = max_softmax(logits.scores(seen), logit_scale(self.model))
            rejected = fits <= judged.reject_up_to
        sets = judged.sets(scores.softmax(dim=1)) if judged.sets else None
        return (scores / judged.temperature).softmax(dim=1), sets, rejected

    def _scores(self, images: Tensor, fusion: str = "probabilities") -> Tensor:
        both = any(self.seen)
        scoring = Scoring("fused" if both else "class", self.model.config.alpha)
        if both and self.has_new:
            scoring = self.mixed or replace(scoring, seen=self.seen)
            fusion = "logits"
        found = predict(
            self.model,
            self.classifier,
            _one(images),
            features=scoring.features,
            fusion=fusion,
            seen=scoring.seen,
            precision=self.precision,
        )
        return scoring.subtract(found.scores.double(), self.mean)

    def with_mixed(self, means: ImageMeans | None, seen_offset: float | None = None) -> Ranking:
        """Return the ranking with seen and new classes scored by the rule of `Scoring.of_mixed`.

        Args:
            means: of held-back images, by which scores are centered; None for none.
            seen_offset: instead, subtracted from the scores of seen classes.
        """
        rule = Scoring.of_mixed(
            self.model.config.alpha,
            self.seen,
            centered=means is not None,
            seen_offset=seen_offset,
        )
        center = mean_logits(self.model, self.classifier, means) if means else None
        return replace(self, mixed=rule, mean=center)


def _one(images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return one batch, whose labels nobody knows."""
    return [(images, torch.zeros(len(images), dtype=torch.long))]


def ranking(
    loaded: LoadedModel,
    info: AdapterInfo,
    new_classes: Sequence[str] = (),
    *,
    only_new: bool = False,
    precision: str = "fp32",
    certainty: Certainty | None = None,
    seen_offset: float | None = None,
    prompts: Mapping[str, tuple[str, ...]] | None = None,
) -> Ranking:
    """Return the ranking of an adapter's classes, and of new ones by their names.

    Args:
        loaded: the adapter's model, see `build_from_adapter`.
        info: the adapter's header.
        new_classes: names of classes without training images.
        only_new: rank these alone.
        precision: of the towers.
        certainty: how the answers are judged; it does not go together with new classes.
        seen_offset: see `Ranking.with_mixed`; the means are the adapter's.
        prompts: of the new classes, by name; None takes the adapter's templates.

    Raises:
        UsageError: a new class reads like another one, or there are none to rank alone.
        ValueError: the adapter names no classes.
    """
    if only_new and not new_classes:
        raise UsageError("there are no new classes to rank alone: name them.")
    if not all(name.strip() for name in new_classes):
        raise UsageError("a new class has an empty name; give every one a name.")
    known = [] if only_new else info.trained_classes()
    require_different(
        [*info.class_names, *new_classes],
        partial(loaded.readings, template=info.template),
        seen=len(info.class_names),
    )
    names = [*known, *new_classes]
    seen = [True] * len(known) + [False] * len(new_classes)
    more = info.prompts
    if prompts is not None:
        more = (more or MorePrompts()).plus(prompts)
        require_prompts(more, new_classes)
    tokens = loaded.class_prompts(usable_names(names, info.template), info.template, more)
    classifier = build_classifier(loaded.model, tokens, precision, names)
    judged = certainty or Certainty()
    found = Ranking(loaded.model, classifier, tuple(names), tuple(seen), precision, judged)
    return found.with_mixed(info.image_means, seen_offset)


def answers(
    ranked: Ranking,
    images: Sequence[str | Path],
    *,
    top: int = 3,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Answer]:
    """Yield an answer for every image file, in order; memory does not grow with their number.

    Args:
        ranked: the model and its classes.
        images: paths of image files.
        top: classes per answer.
        threads: threads that decode while the model computes; None takes the CPU's cores, 8 at
            most.
        progress: advanced by every image.
    """
    top = min(top, len(ranked.names))
    paths = iter(images)
    for items in image_batches(images, eval_transform(ranked.model), threads):
        read = [item for item in items if isinstance(item, Tensor)]
        rows = _judged(ranked, torch.stack(read), top) if read else iter(())
        for path, item in zip(islice(paths, len(items)), items, strict=True):
            if isinstance(item, str):
                yield Answer(str(path), error=item)
                continue
            yield replace(next(rows), image=str(path))
        if progress is not None:
            progress.advance(len(items), images=len(items))


def _judged(ranked: Ranking, images: Tensor, top: int) -> Iterator[Answer]:
    """Yield an answer for every preprocessed image, without its path."""
    probabilities, sets, rejected = ranked.judge(images)
    order = probabilities.argsort(dim=1, descending=True, stable=True) if sets is not None else None
    best = probabilities.topk(top, dim=1)
    for row, (values, indices) in enumerate(
        zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ):
        classes = tuple(
            RankedClass(ranked.names[index], value, ranked.seen[index])
            for value, index in zip(values, indices, strict=True)
        )
        members = None
        if sets is not None and order is not None:
            members = tuple(ranked.names[i] for i in order[row].tolist() if sets[row, i])
        yield Answer(
            "", classes, set=members, rejected=None if rejected is None else bool(rejected[row])
        )
