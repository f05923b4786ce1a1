"""What to run: a protocol, with its data sets, methods, shots, seeds and sweeps, and checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

from ..config import (
    METHODS,
    PROTOCOLS,
    USUAL_METHODS,
    VARIANTS,
    Fusion,
    Method,
    MMRLConfig,
    Protocol,
    Shots,
    Sweep,
    TrainConfig,
)
from ..data.coop.catalog import CATALOG, IMAGENET, find_entry
from ..errors import UsageError
from ..utils.text import did_you_mean
from .recipes import CHOSEN_BY_VALIDATION, SWEEPS, sweep_values
from .run_spec import FewShotRun, dataset_name

_SHIPPED = ("digits", "scrawl")
Point = tuple[Sweep, Any]
"""What an ablation varies, and its value."""
_SHOTS = {"few-shot": (1, 2, 4, 8, 16)}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What to run; None takes the protocol's default."""

    protocol: Protocol
    model: str
    pretrained: str | None
    datasets: Sequence[str] | None = None
    """Short names of `coop:` data sets, or data specs. In transfer protocols: the targets."""
    source: str = IMAGENET
    """What the transfer protocols train on."""
    methods: Sequence[str] | None = None
    """Of `METHODS`; by default the usual ones."""
    seeds: Sequence[int] = (1, 2, 3)
    shots: Sequence[Shots] | None = None
    settings: str = "fixed"
    sweeps: Sequence[str] | None = None
    values: Sequence[Any] | None = None
    """Points of the one sweep that is given, instead of the paper's."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields of MMRLConfig and TrainConfig that differ from the recipe."""
    data_root: str | None = None
    template: str | None = None
    """Prompt of every data set, instead of its own."""
    prompts: Mapping[str, Any] | None = None
    """Besides the template: `MorePrompts.to_json`."""
    test_fraction: float | None = None
    """This and the next two are for each `folder:` that is trained on; see `FewShotRun`."""
    nested: bool = False
    class_names: Mapping[str, str] | None = None
    test_split: Literal["test", "val"] = "test"
    fusion: Fusion = "logits"
    calibrate: bool = False
    """See `FewShotRun.calibrate`."""


def check(experiment: Experiment) -> None:
    """Check what can be checked before anything is planned.

    Raises:
        UsageError: a name that is not known, or options that do not go together.
    """
    if experiment.protocol not in PROTOCOLS:
        raise UsageError(f"protocol is {experiment.protocol!r}; it has to be one of {PROTOCOLS}.")
    for name in (*(experiment.datasets or ()), experiment.source):
        _check_known(name, experiment.data_root)
    for name, values in (("seeds", experiment.seeds), ("shots", _shots(experiment))):
        if not values or len(set(values)) < len(values):
            raise UsageError(f"{name} is {list(values)}; give one or more different numbers.")
    _check_choices(experiment)


def methods_of(experiment: Experiment) -> list[Method]:
    """Return the methods; for an ablation those that train an adapter."""
    usual = ("mmrl",) if experiment.protocol == "ablation" else USUAL_METHODS
    names = experiment.methods or usual
    by_name: dict[str, Method] = {method: method for method in METHODS}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise UsageError(f"method {unknown[0]!r} is not known; choose from {', '.join(METHODS)}.")
    methods = [by_name[name] for name in names]
    untrained = [method for method in methods if method not in VARIANTS]
    if experiment.protocol == "ablation" and untrained:
        raise UsageError(f"{untrained[0]} has nothing to ablate; choose from {VARIANTS}.")
    return methods


def draws_of(experiment: Experiment, method: Method) -> list[tuple[Shots, int]]:
    """Return (shots, seed) of every run; the frozen model depends on neither and has one run."""
    if method == "zeroshot":
        return [(FewShotRun.shots, TrainConfig.seed)]
    return list(product(_shots(experiment), experiment.seeds))


def points_of(experiment: Experiment, method: Method) -> list[Point | None]:
    """Return every point of an ablation of this method; [None] for the other protocols."""
    if experiment.protocol != "ablation":
        if experiment.sweeps or experiment.values:
            raise UsageError(f"{experiment.protocol} has no sweeps; they belong to ablation.")
        return [None]
    by_name: dict[str, Sweep] = {sweep: sweep for sweep in SWEEPS}
    sweeps = experiment.sweeps or list(SWEEPS)
    unknown = [sweep for sweep in sweeps if sweep not in by_name]
    if unknown:
        raise UsageError(f"sweep is {unknown[0]!r}; it has to be one of {', '.join(SWEEPS)}.")
    if experiment.values and len(sweeps) != 1:
        raise UsageError("values belong to one sweep: name it with --sweep.")
    return [
        (sweep, value)
        for sweep in (by_name[name] for name in sweeps)
        for value in experiment.values or sweep_values(sweep, method, experiment.model)
    ]


def split_overrides(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of MMRLConfig, and those of TrainConfig."""
    of_training = {k: v for k, v in overrides.items() if k in TrainConfig.__dataclass_fields__}
    of_method = {k: v for k, v in overrides.items() if k not in of_training}
    unknown = [k for k in of_method if k not in MMRLConfig.__dataclass_fields__]
    if unknown:
        fields = [*MMRLConfig.__dataclass_fields__, *TrainConfig.__dataclass_fields__]
        raise UsageError(
            f"there is no setting {unknown[0]!r}.{did_you_mean(unknown[0], fields)} Settings: "
            f"{', '.join(fields)}."
        )
    MMRLConfig.from_dict({k: v for k, v in of_method.items() if k != "variant"})
    if "variant" in of_method or "seed" in of_training:
        raise UsageError(
            "choose the variant with --methods and the seeds with --seeds; in train with --method "
            "and --seed."
        )
    return of_method, of_training


def as_spec(name: str) -> str:
    """Return the data spec of a short name: "coop:dtd" for "dtd"; data specs stay as they are."""
    return name if ":" in name or name in _SHIPPED else f"coop:{name}"


def distinct_specs(names: Iterable[str]) -> list[str]:
    """Return the data specs; a UsageError names those given twice."""
    specs = [as_spec(name) for name in names]
    short = [dataset_name(spec) for spec in specs]
    twice = sorted({name for name in short if short.count(name) > 1})
    if twice:
        raise UsageError(f"data sets given twice, or with the same name: {', '.join(twice)}.")
    return specs


def _check_known(name: str, data_root: str | None) -> None:
    """Raise for a misspelled name here, once, and not once per run."""
    if ":" in name or name in _SHIPPED or find_entry(name):
        return
    if data_root is None or not (Path(data_root).expanduser() / name).is_dir():
        known = [*_SHIPPED, *CATALOG]
        raise UsageError(
            f"data set {name!r} is not known, nor a folder of --data-root."
            f"{did_you_mean(name, known)} Known: {', '.join(known)}; give any other as a data "
            "spec, such as folder:PATH."
        )


def _shots(experiment: Experiment) -> Sequence[Shots]:
    return experiment.shots or _SHOTS.get(experiment.protocol, (16,))


def _check_choices(experiment: Experiment) -> None:
    """Raise where a setting is given that "validation" chooses."""
    if experiment.settings != "validation":
        return
    given = [*experiment.overrides]
    given += (experiment.sweeps or SWEEPS) if experiment.protocol == "ablation" else []
    clash = [name for name in CHOSEN_BY_VALIDATION if name in given]
    if clash:
        raise UsageError(
            f"{', '.join(clash)}: --settings validation chooses this on held-out shots for every "
            "run, so it can be neither given nor swept. Leave it out, or use --settings fixed."
        )
