"""Which features score which classes, by what an adapter was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from ..config import Fusion
from ..data.prompts import readable
from ..errors import UsageError
from ..hub.class_tokens import repeated_readings
from ..utils.text import listing
from .logits import SCORED, ScoredFeatures, Scoring


@dataclass(frozen=True)
class FeatureChoice:
    """Features for a set of classes."""

    features: ScoredFeatures
    reason: str
    """Why, in one phrase."""
    seen: tuple[bool, ...] | None = None
    """Where some classes were seen in training and others not: which; see `Scoring.seen`."""
    centered: bool = False
    """See `Scoring.centered`, and for the next `Scoring.seen_offset`."""
    seen_offset: float | None = None

    @property
    def kind(self) -> str:
        """Return the features, or "mixed" or "centered" for seen and new classes in one list."""
        return self.features if self.seen is None else "centered" if self.centered else "mixed"

    def scoring(self, alpha: float, fusion: Fusion) -> Scoring:
        """Return how logits become scores."""
        if self.seen is None:
            return Scoring(self.features, alpha, fusion)
        return Scoring.of_mixed(
            alpha, self.seen, centered=self.centered, seen_offset=self.seen_offset, fusion=fusion
        )


def choose_features(
    requested: str,
    classes: Iterable[str],
    seen: Iterable[str],
    readings: Callable[[list[str]], Sequence[Hashable]] | None = None,
    *,
    centered: bool = False,
    seen_offset: float | None = None,
) -> FeatureChoice:
    """Return what "auto" stands for with these classes.

    Classes seen in training are scored by both features, new ones by the class feature; seen and
    new ones together by the rule of `Scoring.of_mixed`.

    Args:
        requested: "auto", or one of `SCORED`.
        classes: the names to choose among.
        seen: the names of the training.
        readings: what the model reads of each name, by which names are compared; None compares
            the names themselves.
        centered: whether the mean image is known, by which seen and new classes compare.
        seen_offset: for these instead, subtracted from the scores of seen classes.

    Raises:
        UsageError: another word, "auto" where no class of the training is named, or an offset that
            is no number or for other features.
    """
    if seen_offset is not None:
        require_offset(seen_offset, "" if requested == "auto" else f"--features {requested}")
    for features in SCORED:
        if features == requested:
            return FeatureChoice(features, f"{requested} features, as given")
    if requested != "auto":
        raise UsageError(f"features is {requested!r}; it has to be auto or one of {SCORED}.")
    names, seen_names = list(classes), list(seen)
    if not seen_names:
        raise UsageError(
            "the adapter names no classes, so auto cannot tell seen from new ones: choose "
            "--features fused or --features class."
        )
    read = readings or (lambda names: list(map(readable, names)))
    of_seen = set(read(seen_names))
    known = tuple(key in of_seen for key in read(names))
    if not any(known):
        return FeatureChoice(
            "class", f"class feature: none of the {len(names)} classes was seen in training"
        )
    if all(known):
        return FeatureChoice(
            "fused", f"both features: all {len(names)} classes were seen in training"
        )
    new = [name for name, is_known in zip(names, known, strict=True) if not is_known]
    seen_count, centered = len(names) - len(new), centered and seen_offset is None
    return FeatureChoice(
        "fused", mixed_reason(seen_count, new, centered, seen_offset), known, centered, seen_offset
    )


def mixed_reason(seen: int, new: Sequence[str], centered: bool, seen_offset: float | None) -> str:
    """Return how `seen` classes and new ones are scored in one list, in one phrase."""
    news = f"{len(new)} new ones ({listing(new, 3)})"
    if centered:
        return (
            f"both features for the {seen} classes seen in training and the {news}, less what the "
            "mean of the held-back images scores"
        )
    less = f" less {seen_offset:g}" if seen_offset else ""
    return (
        f"both features{less} for the {seen} of {seen + len(new)} classes seen in training, the "
        f"class feature for the {news}"
    )


def require_offset(seen_offset: float, instead: str) -> None:
    """Check an offset of seen classes; `instead` is what it does not go together with, or "".

    Raises:
        UsageError: it is no number, or has nothing to be subtracted from.
    """
    if instead:
        raise UsageError(
            f"--seen-offset is for seen and new classes in one list, not for {instead}: leave one "
            "of them out."
        )
    if not math.isfinite(seen_offset):
        raise UsageError(
            f"--seen-offset is {seen_offset}; give a finite number: 0 changes nothing."
        )


def require_different(
    names: Sequence[str], readings: Callable[[list[str]], Sequence[Hashable]], *, seen: int = 0
) -> None:
    """Check that the model reads no class like one before it: it could not distinguish them.

    Args:
        names: of the classes.
        readings: what the model reads of each name.
        seen: that many of the first were seen in training, and are not compared with each other.

    Raises:
        UsageError: some read the same; the message names them.
    """
    alike = [
        f"{names[place]!r} reads like {names[first]!r}" + ", seen in training" * (first < seen)
        for place, first in repeated_readings(readings(list(names)))
        if place >= seen
    ]
    if alike:
        raise UsageError(
            f"{len(alike)} of {len(names) - seen} classes have the same prompt as another one for "
            f"this model's tokenizer: {listing(alike)}. Leave these out, or give other names."
        )
