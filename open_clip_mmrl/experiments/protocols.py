"""From a protocol and a few lists to the runs it consists of, each with its folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import PurePosixPath
from typing import Any

from ..config import METHODS, PROTOCOLS, VARIANTS, MMRLConfig, TrainConfig
from ..data.coop.catalog import CATALOG, IMAGENET, find_entry, names
from ..errors import UsageError
from ..hub.load import resolve_name
from ..utils.text import did_you_mean
from .recipes import CHOSEN, SWEEPS, ablated, changed, recipe, sweep_values
from .results import TRAINED_ON_BASE, TRANSFER
from .run_spec import FewShotRun, dataset_name, training_key

_SHIPPED = ("digits", "scrawl")
_SHOTS = {"few-shot": (1, 2, 4, 8, 16)}


@dataclass(frozen=True)
class Planned:
    """One run, its folder below the output, and folders of runs with the very same training."""

    folder: PurePosixPath
    run: FewShotRun
    reuse_from: tuple[PurePosixPath, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the user asked for; None takes the protocol's own."""

    protocol: str
    model: str
    pretrained: str | None
    datasets: Sequence[str] | None = None
    """Short names of `coop:` data sets, or SPECs. In transfer protocols: the targets."""
    source: str = IMAGENET
    """What the transfer protocols train on."""
    methods: Sequence[str] | None = None
    seeds: Sequence[int] = (1, 2, 3)
    shots: Sequence[int] | None = None
    settings: str = "fixed"
    sweeps: Sequence[str] | None = None
    values: Sequence[Any] | None = None
    """Points of the one sweep asked for, in place of the paper's."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields of MMRLConfig and TrainConfig that differ from the recipe."""
    data_root: str | None = None
    test_split: str = "test"
    fusion: str = "logits"


def plan(wanted: Wanted) -> list[Planned]:
    """All runs of a protocol, those that others can take their training from first.

    Raises:
        UsageError: a name that is not known, or options that do not go together.
    """
    if wanted.protocol not in PROTOCOLS:
        raise UsageError(f"protocol is {wanted.protocol!r}; it has to be one of {PROTOCOLS}.")
    for name in (*(wanted.datasets or ()), wanted.source):
        _check_known(name, wanted.data_root)
    for name, values in (("seeds", wanted.seeds), ("shots", _shots(wanted))):
        if not values or len(set(values)) < len(values):
            raise UsageError(f"{name} is {list(values)}; give one or more different numbers.")
    _check_choices(wanted)
    runs: dict[PurePosixPath, FewShotRun] = {}
    for spec, method in product(_sources(wanted), _methods(wanted)):
        for point, (shots, seed) in product(_points(wanted, method), _draws(wanted, method)):
            run = _run(wanted, spec, method, point, shots, seed)
            runs[_folder(run)] = run
    return _with_donors(runs)


def _run(wanted: Wanted, spec: str, method: str, point, shots: int, seed: int) -> FewShotRun:
    name = resolve_name(wanted.model, method if method in VARIANTS else None)
    settings, train = {}, TrainConfig(seed=seed)
    # Recipes and fusion have no say in the baselines: whatever they are, these runs are the same.
    source, fusion = FewShotRun.settings_source, FewShotRun.fusion
    if method in VARIANTS:
        source, fusion = wanted.settings, wanted.fusion
        settings, train = recipe(method, wanted.protocol, dataset_name(spec), wanted.settings)
        of_method, of_training = _split_overrides(wanted.overrides)
        settings = {**settings, **of_method, **(ablated(*point) if point else {})}
        train = changed(train, **{**of_training, "seed": seed})
    elif "precision" in wanted.overrides:
        train = changed(train, precision=wanted.overrides["precision"])
    return FewShotRun(
        model=str(name),
        pretrained=wanted.pretrained,
        data=spec,
        method=method,
        protocol=wanted.protocol,
        classes="base" if wanted.protocol in TRAINED_ON_BASE else "all",
        shots=shots,
        test_split=wanted.test_split,
        fusion=fusion,
        data_root=wanted.data_root,
        settings=settings,
        settings_source=source,
        train=train,
        ablation={"sweep": point[0], "value": point[1]} if point else None,
        targets=_targets(wanted, spec),
    )


def _sources(wanted: Wanted) -> list[str]:
    """SPECs of the data sets trained on."""
    if wanted.protocol in TRANSFER:
        return [as_spec(wanted.source)]
    return _distinct(wanted.datasets or names("few-shot"))


def _targets(wanted: Wanted, source: str) -> tuple[str, ...]:
    if wanted.protocol == "cross-dataset":
        default = names("few-shot")
    elif wanted.protocol == "domain-generalization":
        default = names("domain shift")
    else:
        return ()
    return tuple(spec for spec in _distinct(wanted.datasets or default) if spec != source)


def as_spec(name: str) -> str:
    """A short name as a SPEC: "dtd" is "coop:dtd"; SPECs stay as they are."""
    return name if ":" in name or name in _SHIPPED else f"coop:{name}"


def _check_known(name: str, data_root: str | None) -> None:
    """A slip of the pen is named here, and not once per run."""
    if ":" in name or name in _SHIPPED or find_entry(name):
        return
    if data_root is None or not os.path.isdir(os.path.join(os.path.expanduser(data_root), name)):
        known = [*_SHIPPED, *CATALOG]
        raise UsageError(
            f"data set {name!r} is not known, nor a folder of --data-root."
            f"{did_you_mean(name, known)} Known: {', '.join(known)}; any other is given as a SPEC, "
            "such as folder:PATH."
        )


def _distinct(names: Iterable[str]) -> list[str]:
    specs = [as_spec(name) for name in names]
    short = [dataset_name(spec) for spec in specs]
    twice = sorted({name for name in short if short.count(name) > 1})
    if twice:
        raise UsageError(f"data sets given twice, or with the same name: {', '.join(twice)}.")
    return specs


def _methods(wanted: Wanted) -> Sequence[str]:
    methods = wanted.methods or (("mmrl",) if wanted.protocol == "ablation" else METHODS)
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise UsageError(f"method {unknown[0]!r} is not known; choose from {', '.join(METHODS)}.")
    untrained = [method for method in methods if method not in VARIANTS]
    if wanted.protocol == "ablation" and untrained:
        raise UsageError(f"{untrained[0]} has nothing to ablate; choose from {VARIANTS}.")
    return methods


def _shots(wanted: Wanted) -> Sequence[int]:
    return wanted.shots or _SHOTS.get(wanted.protocol, (16,))


def _draws(wanted: Wanted, method: str) -> list[tuple[int, int]]:
    """(shots, seed) of every run; the frozen model needs neither, and always gets the same."""
    if method == "zeroshot":
        return [(FewShotRun.shots, TrainConfig.seed)]
    return list(product(_shots(wanted), wanted.seeds))


def _points(wanted: Wanted, method: str) -> list[tuple[str, Any] | None]:
    """(sweep, value) of every point of an ablation of this method; [None] elsewhere."""
    if wanted.protocol != "ablation":
        if wanted.sweeps or wanted.values:
            raise UsageError(f"{wanted.protocol} has no sweeps; they belong to ablation.")
        return [None]
    sweeps = wanted.sweeps or list(SWEEPS)
    if wanted.values and len(sweeps) != 1:
        raise UsageError("values belong to one sweep: name it with --sweep.")
    return [
        (sweep, value)
        for sweep in sweeps
        for value in wanted.values or sweep_values(sweep, method, wanted.model)
    ]


def _check_choices(wanted: Wanted) -> None:
    """What "validation" chooses for itself cannot be given."""
    if wanted.settings != "validation":
        return
    given = [*wanted.overrides]
    given += (wanted.sweeps or SWEEPS) if wanted.protocol == "ablation" else []
    clash = [name for name in CHOSEN if name in given]
    if clash:
        raise UsageError(
            f"{', '.join(clash)}: with --settings validation chosen on held-out shots for every "
            "run, so it can be neither given nor swept: leave it out, or use --settings fixed."
        )


def _split_overrides(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of MMRLConfig, and fields of TrainConfig."""
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
        raise UsageError("choose the variant with --methods and the seeds with --seeds.")
    return of_method, of_training


def _folder(run: FewShotRun) -> PurePosixPath:
    """base-to-novel/dtd/mmrl/16-shots-seed1, ablation/dtd/mmrl/alpha-0.3/16-shots-seed1."""
    parts = [run.protocol, dataset_name(run.data), run.method.replace("+", "p")]
    if run.ablation:
        value = run.ablation["value"]
        shown = value if isinstance(value, str) else f"{value:g}"  # 7 and 7.0 are one
        parts.append(f"{run.ablation['sweep']}-{shown}")
    if run.method != "zeroshot":
        parts.append(f"{run.shots}-shots-seed{run.train.seed}")
    return PurePosixPath(*(re.sub(r"[^\w.+-]+", "_", part) for part in parts))


def _with_donors(runs: Mapping[PurePosixPath, FewShotRun]) -> list[Planned]:
    """Points of several sweeps that are one and the same training are trained once."""
    first: dict[str, PurePosixPath] = {}
    planned = []
    for folder, run in runs.items():
        if run.method not in VARIANTS:
            planned.append(Planned(folder, run))
            continue
        key = training_key(run)
        planned.append(Planned(folder, run, (first[key],) if key in first else ()))
        first.setdefault(key, folder)
    return sorted(planned, key=lambda item: len(item.reuse_from))
