"""One results.json, read and checked. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ...config import VARIANTS
from ...hub.names import ModelName
from .fields import number, number_lists, numbers, optional, required

PROTOCOLS = ("base-to-novel", "few-shot", "cross-dataset", "domain-generalization", "ablation")
TRANSFER = ("cross-dataset", "domain-generalization")
SWEEPS = (
    "variant",
    "rep_dim",
    "alpha",
    "reg_weight",
    "regularizer",
    "start_layer",
    "num_rep_tokens",
)
ZERO_SHOT = "zeroshot"
COST = (
    "trainable_parameters",
    "train_images",
    "train_seconds",
    "train_ms_per_image",
    "eval_images_per_second",
)
_CURVE = ("alpha", "base", "novel")


@dataclass(frozen=True)
class Target:
    """One data set that a transfer run was tested on; accuracies in percent."""

    accuracy: float | None
    zero_shot: float | None
    beta: float | None
    paper_split: bool | None
    missing: str | None
    """Why it was not tested."""


@dataclass(frozen=True)
class Run:
    """What decides where a run's figures stand, and the figures."""

    path: Path
    method: str
    backbone: str
    """open_clip's name of the base, without our prefix."""
    pretrained: str
    """Tag, or the name of a weights file without its folder."""
    dataset: str
    """Short name; the source of a transfer run."""
    protocol: str
    shots: int | None
    seed: int
    settings: str | None
    """Where the settings come from: "paper", "fixed", ...; None where it was not recorded, or where
    the method has none."""
    test_split: str
    fusion: str | None
    sweep: str | None
    """What an ablation varies."""
    value: str | None
    """The varied setting in an ablation, as text: "0.5", "w/o L"."""
    scores: Mapping[str, float]
    """Percent by metric: base, novel, hm or accuracy; generalized_*; ece_*."""
    zero_shot: Mapping[str, float]
    """The same of the frozen model, as far as it was measured."""
    targets: Mapping[str, Target]
    per_class: Mapping[str, Mapping[str, float]]
    """Percent by half ("base", "novel", "all") and class."""
    alpha_curve: tuple[tuple[float, float, float], ...]
    """(alpha, base, novel); empty where there are no such halves."""
    paper_split: bool | None
    """Whether the data set is split as the paper's; None where it is none of the paper's."""
    sizes: Mapping[str, Any]
    """Of the data set, as it was found."""
    cost: Mapping[str, float]
    chosen: Mapping[str, Any]
    """Settings of method and training by name, without the seed and what was chosen for it."""
    environment: Mapping[str, Any]


def read_run(path: Path) -> Run:
    """A results.json.

    Raises:
        ValueError: not JSON, or not a result; says what is wrong, without the path.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one too
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"holds a {type(content).__name__}, not an object")
    protocol = required(content, "protocol", str)
    if protocol not in PROTOCOLS:
        raise ValueError(f"'protocol' is {protocol!r}, not one of {', '.join(PROTOCOLS)}")
    required(content, "metrics", dict)
    scores, main = numbers(content, "metrics"), "accuracy"
    if protocol in ("base-to-novel", "ablation"):
        main = "base"
    if main not in scores:
        raise ValueError(f"'metrics' has no {main!r}")
    sweep, value = _ablation(content) if protocol == "ablation" else (None, None)
    chosen = {}
    for key in ("config", "train"):
        chosen.update(optional(content, key, dict) or {})
    # A run's own choice on held-out shots differs between seeds that belong together.
    selection = optional(content, "selection", dict) or {}
    for name in ("seed", *(optional(selection, "chosen", dict) or {})):
        chosen.pop(name, None)
    method = required(content, "method", str)
    if sweep and method == ZERO_SHOT:
        raise ValueError(f"{ZERO_SHOT} has nothing to ablate")
    adapted = method in VARIANTS
    return Run(
        path=path,
        method=method,
        backbone=ModelName.parse(required(content, "model", str)).base,
        pretrained=PurePath(optional(content, "pretrained", str) or "none").name,
        dataset=_dataset(content),
        protocol=protocol,
        shots=optional(content, "shots", int),
        seed=optional(content, "seed", int) or 0,
        settings=optional(content, "settings_source", str) if adapted else None,
        test_split=optional(content, "test_split", str) or "test",
        fusion=optional(content, "fusion", str) if adapted else None,
        sweep=sweep,
        value=value,
        scores={**scores, **_further(content, "")},
        zero_shot={**numbers(content, "zero_shot"), **_further(content, "_zero_shot")},
        targets=_targets(content),
        per_class=_per_class(content),
        # Where all classes were seen it is one accuracy over alpha, which is not drawn.
        alpha_curve=number_lists(content, "alpha_curve", _CURVE) if main == "base" else (),
        paper_split=_paper_split(content),
        sizes=optional(content, "sizes", dict) or {},
        cost=_cost(content, selection),
        chosen=chosen,
        environment=optional(content, "environment", dict) or {},
    )


def point_text(value: Any) -> str:
    """A varied setting as text that equal numbers share: 7 and 7.0 are "7"."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else str(value)


def _further(content: Mapping[str, Any], suffix: str) -> dict[str, float]:
    return {
        **numbers(content, "generalized" + suffix, "generalized_"),
        **numbers(content, "calibration" + suffix, "ece_"),
    }


def _ablation(content: Mapping[str, Any]) -> tuple[str, str]:
    found = required(content, "ablation", dict)
    if found.get("sweep") not in SWEEPS or found.get("value") is None:
        known = ", ".join(SWEEPS)
        raise ValueError(f"'ablation' is {found!r}, not a 'value' and a 'sweep' of {known}")
    return found["sweep"], point_text(found["value"])


def _targets(content: Mapping[str, Any]) -> dict[str, Target]:
    rows = optional(content, "targets", dict) or {}
    return {
        name: Target(
            accuracy=number(row, "accuracy"),
            zero_shot=number(row, "zero_shot"),
            beta=number(row, "beta"),
            paper_split=_paper_split(row),
            missing=optional(row, "missing", str),
        )
        for name in rows
        if (row := required(rows, name, dict))
    }


def _cost(content: Mapping[str, Any], selection: Mapping[str, Any]) -> dict[str, float]:
    found = {key: number(content, key) for key in COST}
    found["selection_seconds"] = number(selection, "seconds")
    if "trained_in" in content:  # another run's training, which counts there
        found["train_seconds"] = found["selection_seconds"] = None
    return {key: value for key, value in found.items() if value is not None}


def _paper_split(content: Mapping[str, Any]) -> bool | None:
    return optional(optional(content, "sizes", dict) or {}, "paper_split", bool)


def _per_class(content: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    halves = optional(content, "per_class", dict) or {}
    return {half: numbers(halves, half) for half in halves}


def _dataset(content: Mapping[str, Any]) -> str:
    """The short name; earlier files have the SPEC only ("coop:dtd", "folder:a/b", "digits")."""
    name = optional(content, "dataset", str)
    if not name:
        name = PurePath(required(content, "data", str).split(":", 1)[-1]).name
    return name
