"""The schema of `results.json`: every run writes a `RunResult`, the report and others read it.

Standard library only, as `result_parts` with the smaller values. Files without `format_version`
are of version 1; version 2 has the same keys and this one. Unknown keys are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePath
from typing import Any, TypeVar

from ..config import PROTOCOLS, Protocol, Shots
from ..hub.adapter_path import ADAPTER as ADAPTER
from ..hub.adapter_path import RESULTS as RESULTS
from ..utils.files import read_json
from ..utils.json_fields import Content, number, numbers, objects, optional, required, rows
from .result_parts import (
    AblationPoint,
    AlphaPoint,
    Environment,
    ProbeStrength,
    Scores,
    Selection,
    Sizes,
    TargetResult,
)

FORMAT_VERSION = 2

TRANSFER = ("cross-dataset", "domain-generalization")
TRAINED_ON_BASE = ("base-to-novel", "ablation")
"""Trained on the base classes, tested on base and novel ones; the others train on all classes."""

Settings = Mapping[str, Any]
"""JSON values by the name of a field of MMRLConfig or TrainConfig."""
_KEYS = {"regularization": "regularisation"}  # as every version has written it
_NULL = ("train_seconds", "train_ms_per_image")
"""Written even where a method has none; skipped_steps too for the zero-shot model."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One finished run: what was run, what it took, and its scores in percent.

    Fields have the names and the order of the file's keys. A field without a value is not written.
    """

    format_version: int = FORMAT_VERSION
    """Of the file that was read; `to_json` writes the present one."""
    method: str
    """One of `METHODS`."""
    model: str
    """The registered name, e.g. "mmrlpp-ViT-B-16"."""
    pretrained: str | None = None
    """Tag or weights file of the base model."""
    data: str
    """Data spec of the data set trained on."""
    dataset: str
    """Its short name, "dtd" of "coop:dtd"."""
    sizes: Sizes | None = None
    protocol: Protocol
    ablation: AblationPoint | None = None
    settings_source: str | None = None
    """"paper", "fixed", ...; None where it was not recorded."""
    shots: Shots | None = None
    seed: int = 0
    test_split: str = "test"
    fusion: str | None = None
    train_images: int | None = None
    selection: Selection | None = None
    regularization: ProbeStrength | None = None
    trainable_parameters: int | None = None
    train_seconds: float | None = None
    train_ms_per_image: float | None = None
    skipped_steps: int | None = None
    """Steps without an update, because a gradient was not finite."""
    trained_in: str | None = None
    """Folder of the run whose adapter was reused, relative to this run's."""
    metrics: Scores
    """"base", "novel" and "hm" where the base classes were trained on, else "accuracy"."""
    zero_shot: Scores = field(default_factory=dict)
    """The same keys, of the frozen model."""
    linear_probe: Scores = field(default_factory=dict)
    """The same keys, of a linear probe of the same images, where `train` fitted one."""
    generalized_rule: str | None = None
    """"centered" where the classes compare by the mean image; see `Scoring.of_mixed`."""
    generalized: Scores = field(default_factory=dict)
    """Generalized zero-shot (GZSL) accuracy, by one classifier of all classes: "seen", "unseen"
    and their harmonic mean "hm". Beyond the paper, as the next three fields."""
    generalized_zero_shot: Scores = field(default_factory=dict)
    calibration: Scores = field(default_factory=dict)
    """Expected calibration error: "base" and "novel", or "accuracy"."""
    calibration_zero_shot: Scores = field(default_factory=dict)
    unknown: Scores = field(default_factory=dict)
    """How well images of novel classes are told from those of base classes: "auroc", "fpr95"."""
    unknown_zero_shot: Scores = field(default_factory=dict)
    calibrated: Scores = field(default_factory=dict)
    """With what was measured on "held_back" images, on test images of the classes trained on:
    "temperature", "ece" with it, and "coverage" and "set_size" of sets for "confidence_level"."""
    calibrated_zero_shot: Scores = field(default_factory=dict)
    per_class: Mapping[str, Scores] = field(default_factory=dict)
    """Accuracy by split of the classes ("base", "novel" or "all") and class name."""
    alpha_curve: tuple[AlphaPoint, ...] = ()
    eval_images_per_second: float | None = None
    """Of the adapted model alone, with both features."""
    targets: Mapping[str, TargetResult] = field(default_factory=dict)
    """By short name of a data set; in transfer protocols only."""
    config: Settings = field(default_factory=dict)
    """All of MMRLConfig, as tested; empty for the baselines, and so is `train`."""
    train: Settings = field(default_factory=dict)
    environment: Environment = field(default_factory=Environment)

    @property
    def is_no_better_than_frozen(self) -> bool:
        """Return whether the main score, "hm" or "accuracy", is not above the frozen model's."""
        ours, frozen = (scores.get(self._main) for scores in (self.metrics, self.zero_shot))
        return ours is not None and frozen is not None and ours <= frozen

    @property
    def compared(self) -> str:
        """Return the main score next to the frozen model's, for messages."""
        name = "harmonic mean" if self._main == "hm" else self._main
        return f"{name} {self.metrics[self._main]:.1f}, frozen {self.zero_shot[self._main]:.1f}"

    @property
    def _main(self) -> str:
        return "hm" if self.protocol in TRAINED_ON_BASE else "accuracy"

    def to_json(self) -> dict[str, Any]:
        """Return the content of `results.json`, ready for `json_bytes`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["format_version"] = FORMAT_VERSION
        nulls = (*_NULL, "skipped_steps") if self.method == "zeroshot" else _NULL
        return {
            _KEYS.get(name, name): _plain(value)
            for name, value in values.items()
            if value not in (None, {}, ()) or name in nulls
        }

    @classmethod
    def from_json(cls, content: Any, path: str | Path | None = None) -> RunResult:
        """Read the parsed content of a `results.json` of any version so far.

        Args:
            content: of the file, as `read_json` returns it.
            path: of the file, for messages.

        Raises:
            ValueError: it is no result; the message names the key, and the file where it is given.
        """
        try:
            return _read(content)
        except ValueError as error:
            if path is None:
                raise
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def read(cls, path: str | Path) -> RunResult:
        """Read a `results.json`.

        Raises:
            ValueError: not JSON, or no result; the message names the file.
            OSError: the file cannot be read.
        """
        return cls.from_json(read_json(path), path)


def _plain(value: Any) -> Any:
    """Turn values and what they hold into JSON."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _read(content: Any) -> RunResult:
    if not isinstance(content, dict):
        raise ValueError(f"holds a {type(content).__name__}, not an object")
    version = optional(content, "format_version", int) or 1
    if version > FORMAT_VERSION:
        raise ValueError(
            f"'format_version' is {version}, but this version reads up to {FORMAT_VERSION}: "
            "update open_clip_mmrl"
        )
    protocol, method, scores = _protocol(content), content.get("method"), _metrics(content)
    if protocol == "ablation" and method == "zeroshot":
        raise ValueError("zeroshot has nothing to ablate")
    return RunResult(
        format_version=version,
        method=required(content, "method", str),
        model=required(content, "model", str),
        pretrained=optional(content, "pretrained", str),
        data=optional(content, "data", str) or required(content, "dataset", str),
        dataset=_dataset(content),
        sizes=_part(content, "sizes", Sizes.from_json),
        protocol=protocol,
        ablation=_ablation(content, protocol),
        settings_source=optional(content, "settings_source", str),
        shots=_shots(content),
        seed=optional(content, "seed", int) or 0,
        test_split=optional(content, "test_split", str) or "test",
        fusion=optional(content, "fusion", str),
        train_images=optional(content, "train_images", int),
        selection=_part(content, "selection", Selection.from_json),
        regularization=_part(content, "regularisation", ProbeStrength.from_json),
        trainable_parameters=optional(content, "trainable_parameters", int),
        train_seconds=number(content, "train_seconds"),
        train_ms_per_image=number(content, "train_ms_per_image"),
        skipped_steps=optional(content, "skipped_steps", int),
        trained_in=optional(content, "trained_in", str),
        metrics=scores,
        generalized_rule=optional(content, "generalized_rule", str),
        **{name: numbers(content, name) for name in _FURTHER},
        per_class={k: numbers(content["per_class"], k) for k in objects(content, "per_class")},
        alpha_curve=_alpha_curve(content, protocol),
        eval_images_per_second=number(content, "eval_images_per_second"),
        targets=_targets(content),
        config=objects(content, "config"),
        train=objects(content, "train"),
        environment=Environment.from_json(objects(content, "environment")),
    )


_FURTHER = (
    "zero_shot",
    "linear_probe",
    "generalized",
    "generalized_zero_shot",
    "calibration",
    "calibration_zero_shot",
    "unknown",
    "unknown_zero_shot",
    "calibrated",
    "calibrated_zero_shot",
)
T = TypeVar("T")


def _part(content: Content, key: str, from_json: Callable[[Content], T]) -> T | None:
    found = optional(content, key, dict)
    return None if found is None else from_json(found)


def _protocol(content: Content) -> Protocol:
    found = required(content, "protocol", str)
    for protocol in PROTOCOLS:
        if protocol == found:
            return protocol
    raise ValueError(f"'protocol' is {found!r}, not one of {', '.join(PROTOCOLS)}")


def _shots(content: Content) -> Shots | None:
    return "all" if content.get("shots") == "all" else optional(content, "shots", int)


def _metrics(content: Content) -> Scores:
    required(content, "metrics", dict)
    scores = numbers(content, "metrics")
    main = "base" if content["protocol"] in TRAINED_ON_BASE else "accuracy"
    if scores.get(main) is None:
        raise ValueError(f"'metrics' has no {main!r}")
    return scores


def _ablation(content: Content, protocol: Protocol) -> AblationPoint | None:
    if protocol != "ablation":
        return None
    return AblationPoint.from_json(required(content, "ablation", dict))


def _alpha_curve(content: Content, protocol: Protocol) -> tuple[AlphaPoint, ...]:
    names = ("base", "novel") if protocol in TRAINED_ON_BASE else ("accuracy",)
    found = []
    for row in rows(content, "alpha_curve"):
        alpha, scores = number(row, "alpha"), {name: number(row, name) for name in names}
        there = {name: value for name, value in scores.items() if value is not None}
        if alpha is None or len(there) < len(names):
            lacking = ", ".join(("alpha", *names))
            raise ValueError(f"'alpha_curve': an entry lacks one of {lacking}")
        found.append(AlphaPoint(alpha, there))
    return tuple(found)


def _targets(content: Content) -> dict[str, TargetResult]:
    found = objects(content, "targets")
    return {name: TargetResult.from_json(required(found, name, dict)) for name in found}


def _dataset(content: Content) -> str:
    """Return the short name; the oldest files have the data spec only ("coop:dtd", "digits")."""
    name = optional(content, "dataset", str)
    return name or PurePath(required(content, "data", str).split(":", 1)[-1]).name
