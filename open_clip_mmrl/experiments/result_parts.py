"""The values that a `RunResult` consists of, each with its form in `results.json`.

Standard library only. Accuracies are in percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import SWEEP_NAMES, Sweep
from ..utils.json_fields import (
    Content,
    number,
    numbers,
    optional,
    required,
    required_number,
    rows,
)

Scores = Mapping[str, float | None]
"""Percent by name; None where a method cannot have it (a linear probe's novel accuracy)."""


def known(scores: Scores) -> dict[str, float]:
    """Return the scores that are not None."""
    return {name: value for name, value in scores.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The versions and the device of a run."""

    versions: Mapping[str, str] = field(default_factory=dict)
    """Of Python and of packages, by name."""
    device: str | None = None
    """Type of the torch device: "cpu" or "cuda"."""
    device_name: str | None = None
    threads: int | None = None
    precision: str | None = None
    """Of training and of testing."""

    def to_json(self) -> dict[str, Any]:
        """Return one flat object, versions first."""
        own = {key: value for key, value in vars(self).items() if key != "versions"}
        return {**self.versions, **{k: value for k, value in own.items() if value is not None}}

    @classmethod
    def from_json(cls, content: Content) -> Environment:
        """Read the object; every text that is no other field is the version of a package."""
        own = ("device", "device_name", "precision")
        return cls(
            versions={k: v for k, v in content.items() if k not in own and isinstance(v, str)},
            threads=optional(content, "threads", int),
            **{key: optional(content, key, str) for key in own},
        )


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Counts of a data set as it was found, before few-shot sampling."""

    classes: int | None = None
    train: int | None = None
    val: int | None = None
    test: int | None = None
    paper_split: bool | None = None
    """Whether it is split as the paper's; None where nobody can tell."""

    def to_json(self) -> dict[str, Any]:
        """Return the counts by name, and "paper_split"."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, content: Content) -> Sizes:
        """Read the counts; those that are not there are None."""
        counts = {key: optional(content, key, int) for key in ("classes", "train", "val", "test")}
        return cls(**counts, paper_split=optional(content, "paper_split", bool))


@dataclass(frozen=True, kw_only=True)
class TargetResult:
    """One data set that a transfer run was tested on."""

    accuracy: float | None = None
    """None where the data set is missing, or has classes that a linear probe does not know."""
    zero_shot: float | None = None
    """Of the frozen model."""
    beta: float | None = None
    """Of the model that was tested."""
    sizes: Sizes | None = None
    missing: str | None = None
    """Why it was not tested; None where it was."""

    def to_json(self) -> dict[str, Any]:
        """Return {"missing"}, or all others."""
        if self.missing is not None:
            return {"missing": self.missing}
        scores = {"accuracy": self.accuracy, "zero_shot": self.zero_shot, "beta": self.beta}
        return {**scores, "sizes": self.sizes and self.sizes.to_json()}

    @classmethod
    def from_json(cls, content: Content) -> TargetResult:
        """Read one target."""
        sizes = optional(content, "sizes", dict)
        return cls(
            accuracy=number(content, "accuracy"),
            zero_shot=number(content, "zero_shot"),
            beta=number(content, "beta"),
            sizes=None if sizes is None else Sizes.from_json(sizes),
            missing=optional(content, "missing", str),
        )


@dataclass(frozen=True)
class AblationPoint:
    """What an ablation varies, and its value there: ("rep_dim", 32), ("variant", "w/o L")."""

    sweep: Sweep
    value: str | float

    def to_json(self) -> dict[str, Any]:
        """Return {"sweep", "value"}."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, content: Content) -> AblationPoint:
        """Read one point; a ValueError lists the sweeps."""
        sweep, value = content.get("sweep"), content.get("value")
        if sweep not in SWEEP_NAMES or not isinstance(value, str | int | float):
            raise ValueError(
                f"'ablation' is {dict(content)!r}, not a 'value' and a 'sweep' of "
                f"{', '.join(SWEEP_NAMES)}"
            )
        return cls(sweep, value)


@dataclass(frozen=True)
class AlphaPoint:
    """Accuracies of one trained model at one alpha of the mix of logits.

    Attributes:
        alpha: weight of the class feature, 0 to 1.
        scores: by "base" and "novel", or by "accuracy".
    """

    alpha: float
    scores: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return alpha and scores in one object."""
        return {"alpha": self.alpha, **self.scores}


@dataclass(frozen=True)
class Candidate:
    """Settings that were tried on held-out images, and their score over some folds of them."""

    settings: Mapping[str, float]
    score: float
    folds: int | None = None
    """None of versions that had one."""
    standard_error: float | None = None
    """Of the difference from the usual settings' score in these folds."""

    def to_json(self) -> dict[str, Any]:
        """Return settings and the others, where they are known, in one object."""
        found = {name: getattr(self, name) for name in ("score", "folds", "standard_error")}
        return {**self.settings, **{k: value for k, value in found.items() if value is not None}}

    @classmethod
    def from_json(cls, content: Content) -> Candidate:
        """Read one candidate."""
        own = ("score", "folds", "standard_error")
        return cls(
            settings={key: required_number(content, key) for key in content if key not in own},
            score=required_number(content, "score"),
            folds=optional(content, "folds", int),
            standard_error=number(content, "standard_error"),
        )


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Hyperparameter selection on held-out shots.

    Attributes:
        chosen: fields of MMRLConfig.
        candidates: in the order in which they were tried.
        held_out: number of images of the classes trained on that were held out.
        seconds: what training all candidates took.
    """

    chosen: Mapping[str, float] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    held_out: int = 0
    seconds: float = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {
            "chosen": dict(self.chosen),
            "candidates": [candidate.to_json() for candidate in self.candidates],
            "held_out": self.held_out,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, content: Content) -> Selection:
        """Read a selection."""
        return cls(
            chosen=known(numbers(content, "chosen")),
            candidates=tuple(Candidate.from_json(row) for row in rows(content, "candidates")),
            held_out=optional(content, "held_out", int) or 0,
            seconds=number(content, "seconds") or 0,
        )


@dataclass(frozen=True)
class ProbeStrength:
    """Regularization of a linear probe.

    Attributes:
        c: scikit-learn's C, the inverse of the strength.
        chosen_on: "validation", "folds" (of the training images) or "default".
    """

    c: float
    chosen_on: str

    def to_json(self) -> dict[str, Any]:
        """Return {"C", "chosen_on"}."""
        return {"C": self.c, "chosen_on": self.chosen_on}

    @classmethod
    def from_json(cls, content: Content) -> ProbeStrength:
        """Read {"C", "chosen_on"}."""
        return cls(required_number(content, "C"), required(content, "chosen_on", str))
