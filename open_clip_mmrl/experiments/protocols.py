"""The runs of a protocol: over data sets, methods, shots and seeds, each with its folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import PurePosixPath
from typing import Any

from ..config import VARIANTS, Method, Shots, TrainConfig
from ..data.coop.catalog import names
from ..errors import UsageError
from ..hub.load import resolve_name
from ..hub.names import ModelName
from .experiment import (
    Experiment,
    Point,
    as_spec,
    check,
    distinct_specs,
    draws_of,
    methods_of,
    points_of,
    split_overrides,
)
from .recipes import ablated, baseline_training, changed, recipe
from .results import TRAINED_ON_BASE, TRANSFER
from .run_spec import FewShotRun, dataset_name, training_key


@dataclass(frozen=True)
class PlannedRun:
    """One run.

    Attributes:
        folder: below the output.
        reuse_from: folders of runs with the same training.
    """

    folder: PurePosixPath
    run: FewShotRun
    reuse_from: tuple[PurePosixPath, ...] = ()


def plan(experiment: Experiment) -> list[PlannedRun]:
    """Return all runs of a protocol; those whose training others reuse come first.

    Raises:
        UsageError: a name that is not known, or options that do not go together.
    """
    check(experiment)
    given = any(_folder_options(experiment).values())
    folders = [spec for spec in _sources(experiment) if spec.startswith("folder:")]
    if given and (not folders or (experiment.class_names and len(folders) > 1)):
        what = "one folder:PATH" if folders else "folder:PATH"
        raise UsageError(
            f"test fraction, nested and class names are for training on {what}; the data sets are "
            f"{', '.join(_sources(experiment))}."
        )
    runs: dict[PurePosixPath, FewShotRun] = {}
    for spec, method in product(_sources(experiment), methods_of(experiment)):
        points, draws = points_of(experiment, method), draws_of(experiment, method)
        for point, (shots, seed) in product(points, draws):
            run = _run(experiment, spec, method, point, shots, seed)
            runs[_folder(run)] = run
    return _with_reuse(runs)


def _run(
    experiment: Experiment, spec: str, method: Method, point: Point | None, shots: Shots, seed: int
) -> FewShotRun:
    given = ModelName.parse(experiment.model)
    # With several methods, the name's own has to be one of them.
    several = given.variant in methods_of(experiment)
    model = given.base if several and method in VARIANTS else experiment.model
    name = resolve_name(model, method if method in VARIANTS else None)
    settings, train = {}, TrainConfig(seed=seed)
    # Baselines do not depend on recipes and fusion: their runs are the same with all of them.
    source, fusion = FewShotRun.settings_source, FewShotRun.fusion
    if method in VARIANTS:
        source, fusion = experiment.settings, experiment.fusion
        settings, train = recipe(
            method, experiment.protocol, dataset_name(spec), experiment.settings
        )
        of_method, of_training = split_overrides(experiment.overrides)
        settings = {**settings, **of_method, **(ablated(*point) if point else {})}
        train = changed(train, **{**of_training, "seed": seed})
    else:
        given = experiment.settings, experiment.overrides
        train = baseline_training(method, shots, dataset_name(spec), *given, seed)
    return FewShotRun(
        model=str(name),
        pretrained=experiment.pretrained,
        data=spec,
        method=method,
        protocol=experiment.protocol,
        classes="base" if experiment.protocol in TRAINED_ON_BASE else "all",
        shots=shots,
        test_split=experiment.test_split,
        fusion=fusion,
        data_root=experiment.data_root,
        template=experiment.template,
        prompts=experiment.prompts,
        settings=settings,
        settings_source=source,
        train=train,
        ablation={"sweep": point[0], "value": point[1]} if point else None,
        targets=_targets(experiment, spec),
        calibrate=experiment.calibrate,
        **(_folder_options(experiment) if spec.startswith("folder:") else {}),
    )


def _folder_options(experiment: Experiment) -> dict[str, Any]:
    names = ("test_fraction", "nested", "class_names")
    return {name: getattr(experiment, name) for name in names}


def _sources(experiment: Experiment) -> list[str]:
    """Return the data specs of the data sets trained on."""
    if experiment.protocol in TRANSFER:
        return [as_spec(experiment.source)]
    return distinct_specs(experiment.datasets or names("few-shot"))


def _targets(experiment: Experiment, source: str) -> tuple[str, ...]:
    if experiment.protocol == "cross-dataset":
        default = names("few-shot")
    elif experiment.protocol == "domain-generalization":
        default = names("domain shift")
    else:
        return ()
    return tuple(spec for spec in distinct_specs(experiment.datasets or default) if spec != source)


def _folder(run: FewShotRun) -> PurePosixPath:
    """Return base-to-novel/dtd/mmrl/16-shots-seed1, for example.

    Of an ablation: ablation/dtd/mmrl/alpha-0.3/16-shots-seed1.
    """
    parts = [run.protocol, dataset_name(run.data), str(run.method).replace("+", "p")]
    if run.ablation:
        value = run.ablation["value"]
        shown = value if isinstance(value, str) else f"{value:g}"  # 7 and 7.0 are one
        parts.append(f"{run.ablation['sweep']}-{shown}")
    if run.method != "zeroshot":
        parts.append(f"{run.shots}-shots-seed{run.train.seed}")
    return PurePosixPath(*(re.sub(r"[^\w.+-]+", "_", part) for part in parts))


def _with_reuse(runs: Mapping[PurePosixPath, FewShotRun]) -> list[PlannedRun]:
    """Train points of several sweeps once where their training is the same."""
    first: dict[str, PurePosixPath] = {}
    planned = []
    for folder, run in runs.items():
        if run.method not in VARIANTS:
            planned.append(PlannedRun(folder, run))
            continue
        key = training_key(run)
        planned.append(PlannedRun(folder, run, (first[key],) if key in first else ()))
        first.setdefault(key, folder)
    return sorted(planned, key=lambda item: len(item.reuse_from))
