"""Which features score which classes, by what an adapter was trained on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from ..data.prompts import readable
from ..errors import UsageError
from ..hub.class_tokens import repeated_readings
from ..utils.text import listing
from .logits import SCORED, ScoredFeatures


@dataclass(frozen=True)
class FeatureChoice:
    """Features for a set of classes."""

    features: ScoredFeatures
    reason: str
    """Why, in one phrase."""
    seen: tuple[bool, ...] | None = None
    """Where some classes were seen in training and others not: which; see `Scoring.seen`."""


def choose_features(
    requested: str,
    classes: Iterable[str],
    seen: Iterable[str],
    readings: Callable[[list[str]], Sequence[Hashable]] | None = None,
) -> FeatureChoice:
    """Return what "auto" stands for with these classes.

    Classes seen in training are scored by both features, the others by the class feature.

    Args:
        requested: "auto", or one of `SCORED`.
        classes: the names to choose among.
        seen: the names of the training.
        readings: what the model reads of each name, by which names are compared; None compares
            the names themselves.

    Raises:
        UsageError: another word, or "auto" where no class of the training is named.
    """
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
    reason = (
        f"both features for the {len(names) - len(new)} of {len(names)} classes seen in training, "
        f"the class feature for the {len(new)} new ones ({listing(new, 3)})"
    )
    return FeatureChoice("fused", reason, known)


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
