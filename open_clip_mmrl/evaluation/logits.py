"""What a pass over images gives, before anything is mixed.

Shapes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from ..config import Fusion
from ..models.ops import mix

ScoredFeatures = Literal["class", "fused", "frozen"]
SCORED: tuple[ScoredFeatures, ...] = get_args(ScoredFeatures)


@dataclass(frozen=True)
class Scoring:
    """How logits become scores."""

    features: ScoredFeatures
    """"class" for new classes, "fused" for classes seen in training, "frozen" for the base."""
    alpha: float = 1.0
    """Weight of the class feature in "fused"."""
    fusion: Fusion = "logits"
    """How "fused" mixes, see `mix`."""
    seen: tuple[bool, ...] | None = None
    """Which of the C classes "fused" mixes, where others were not seen in training; None: all."""
    seen_offset: float = 0.0
    """Subtracted from the scores of these, so that others win more often; 0 changes no bit."""
    centered: bool = False
    """Whether what the mean image scores, `Logits.mean`, is subtracted from every class's score."""

    @classmethod
    def of_mixed(
        cls,
        alpha: float,
        seen: Sequence[bool],
        *,
        centered: bool,
        seen_offset: float | None = None,
        fusion: Fusion = "logits",
    ) -> Scoring:
        """Return how seen and new classes are scored in one list.

        Centered, all by both features; otherwise, or where `seen_offset` is given, seen classes by
        both features and new ones by the class feature.
        """
        if centered and seen_offset is None:
            return cls("fused", alpha, fusion, centered=True)
        return cls("fused", alpha, fusion, tuple(seen), seen_offset or 0.0)

    @property
    def what_decides(self) -> str:
        """Return the scores in words, for a reader of their softmax."""
        if self.features != "fused":
            return f"the logits of the {self.features} feature"
        what = f"the {self.fusion} of both features, mixed with alpha {self.alpha:g}"
        what += ", less those of the mean image" if self.centered else ""
        return what if self.seen is None else f"{what} (of new classes: of the class feature)"

    def subtract(self, scores: Tensor, mean: Logits | None) -> Tensor:
        """Return scores [N, C] less those of the mean image, less the offset of seen classes."""
        if self.centered:
            assert mean is not None  # who scores centered gives one
            scores = scores - mean.scores(replace(self, fusion="logits", centered=False))
        if self.seen_offset:
            scores = torch.where(torch.tensor(self.seen), scores - self.seen_offset, scores)
        return scores


@dataclass(frozen=True)
class Logits:
    """Logits of images against all of some classes, by every feature, [N, C] each, on the CPU.

    A class's logit does not depend on the other classes, so what these images score against fewer
    classes can be read off, and so can every mix.
    """

    by_class: Tensor
    by_rep: Tensor | None
    """None where the model has no image tokens."""
    frozen: Tensor
    """Of the base model: its image features against its text features."""
    labels: Tensor
    """[N], 0 .. C - 1."""
    names: Sequence[str] = ()
    """Of the C classes."""
    features: Tensor | None = None
    """Of the base model's image tower, [N, E], float32, not of unit length; where they are kept."""
    mean: Logits | None = None
    """What the mean of other images scores against these classes; see `mean_image`."""

    def scores(self, scoring: Scoring) -> Tensor:
        """Return scores [N, C]."""
        if scoring.features == "fused":
            seen = None if scoring.seen is None else torch.tensor(scoring.seen)
            mixed = mix(self.by_class, self.by_rep, scoring.alpha, scoring.fusion, seen)
            return scoring.subtract(mixed, self.mean)
        return self.by_class if scoring.features == "class" else self.frozen

    def of_base_model(self) -> Logits:
        """Return the base model's logits in the place of the adapted model's."""
        mean = self.mean and self.mean.of_base_model()
        return Logits(self.frozen, None, self.frozen, self.labels, self.names, mean=mean)

    def split(self, classes: Sequence[int]) -> Logits:
        """Return the images of some consecutive classes, scored against these classes alone."""
        first, last = classes[0], classes[-1] + 1
        rows = (self.labels >= first) & (self.labels < last)
        return Logits(
            by_class=self.by_class[rows, first:last],
            by_rep=None if self.by_rep is None else self.by_rep[rows, first:last],
            frozen=self.frozen[rows, first:last],
            labels=self.labels[rows] - first,
            names=self.names[first:last],
        )
