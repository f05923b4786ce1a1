"""`open-clip-mmrl run PROTOCOL`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..config import (
    CACHE_GB,
    METHODS,
    PROTOCOLS,
    SWEEP_NAMES,
    USUAL_METHODS,
    Engine,
    Protocol,
    SettingsSource,
)
from ..errors import UsageError
from ..utils.stop import RESUMES
from ..utils.text import counted, listing
from ..utils.torchrun import process_count
from .common import (
    DATA,
    MACHINE,
    METHOD,
    OUTPUT,
    AugmentOption,
    CacheOption,
    CalibrateOption,
    DeviceOption,
    FractionOption,
    FusionOption,
    GraphOption,
    ModelOption,
    NamesOption,
    NestedOption,
    PrecisionOption,
    PretrainedOption,
    QuietOption,
    RootOption,
    SetOption,
    SplitOption,
    TemplatesOption,
    WorkersOption,
    command,
    option,
    path_option,
    say,
    set_fields,
    value_of,
)
from .dry_run import show


@command(RESUMES)
def run(
    ctx: typer.Context,
    protocol: Annotated[
        Protocol, typer.Argument(metavar="PROTOCOL", help=f"One of {listing(PROTOCOLS)}.")
    ],
    output: Annotated[
        Path,
        path_option("Folder of all runs; give it again to resume."),
    ],
    model: ModelOption = None,
    pretrained: PretrainedOption = None,
    datasets: Annotated[
        str | None,
        option(
            DATA,
            "coop: data sets or SPECs; in cross-dataset and domain-generalization the targets. "
            "Default: the paper's.",
            metavar="NAME ...",
        ),
    ] = None,
    source: Annotated[
        str,
        option(DATA, "What cross-dataset and domain-generalization train on.", metavar="NAME"),
    ] = "imagenet",
    methods: Annotated[
        str | None,
        option(
            METHOD,
            f"Of {' '.join(METHODS)}. Default: {' '.join(USUAL_METHODS)}.",
            metavar="NAME ...",
        ),
    ] = None,
    seeds: Annotated[
        str, option(DATA, "A run for each. Default: 1 2 3.", metavar="N ...", show_default=False)
    ] = "1,2,3",
    shots: Annotated[
        str | None,
        option(
            DATA,
            "Training images per class, or all. Default: 16; few-shot: 1 2 4 8 16.",
            metavar="N ...",
        ),
    ] = None,
    template: TemplatesOption = None,
    settings: Annotated[
        SettingsSource,
        option(
            METHOD,
            "paper: per data set, by the authors, for MMRL by test accuracy (they trained in "
            "mixed precision: add --precision amp_fp16); fixed: one for all; validation: alpha, "
            "lambda, beta chosen on held-out shots, in up to four more trainings; demo: the "
            "demo's.",
            metavar="SOURCE",
        ),
    ] = "fixed",
    sweep: Annotated[
        str | None,
        option(METHOD, f"ablation: of {' '.join(SWEEP_NAMES)}. Default: all.", metavar="NAME ..."),
    ] = None,
    values: Annotated[
        str | None,
        option(METHOD, "Points of the one sweep, instead of the paper's.", metavar="VALUE ..."),
    ] = None,
    calibrate: CalibrateOption = False,
    set_: SetOption = None,
    data_root: RootOption = None,
    test_fraction: FractionOption = None,
    class_names: NamesOption = None,
    nested: NestedOption = None,
    precision: PrecisionOption = "fp32",
    fusion: FusionOption = "logits",
    test_split: SplitOption = "test",
    jobs: Annotated[
        int | None,
        option(
            MACHINE,
            "Runs at a time. Default: one; on a cluster as many as it has room for.",
            metavar="N",
            min=1,
        ),
    ] = None,
    engine: Annotated[
        Engine,
        option(
            MACHINE,
            "Where: processes of this machine, a SLURM or a Ray cluster; on a cluster all machines "
            "see --output.",
        ),
    ] = "local",
    slurm: Annotated[
        str | None,
        option(
            MACHINE,
            "Of submitit or sbatch: partition=gpu gpus_per_node=1 timeout_min=60",
            metavar="NAME=VALUE ...",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        option(
            MACHINE,
            "Of a Ray task, and address: num_gpus=0.25 num_cpus=4 address=auto",
            metavar="NAME=VALUE ...",
        ),
    ] = None,
    retries: Annotated[
        int,
        option(
            MACHINE,
            "How often to try a run again that failed, if not for its input.",
            metavar="N",
            min=0,
        ),
    ] = 0,
    dry_run: Annotated[
        bool, option(OUTPUT, "List the runs and an estimate of their time.", "--dry-run")
    ] = False,
    device: DeviceOption = None,
    workers: WorkersOption = 0,
    augment: AugmentOption = "classic",
    cache_gb: CacheOption = CACHE_GB,
    cuda_graph: GraphOption = False,
    quiet: QuietOption = False,
) -> None:
    """Carry out a protocol of the paper; finished runs are kept, stopped ones resume."""
    from .. import assets
    from ..data.more_prompts import given_prompts
    from ..data.sampling import parse_shots
    from ..experiments.engines.workers import Workers
    from ..experiments.experiment import Experiment
    from ..experiments.protocols import plan
    from ..experiments.run_spec import Runtime
    from ..experiments.runner import run_all, unfinished
    from ..utils.ranks import ranks

    if process_count() > 1 and (engine != "local" or (jobs or 1) > 1):
        raise UsageError(
            f"torchrun has started {process_count()} processes that train one run after the other "
            "together: leave out --jobs and --engine, or start without torchrun."
        )
    crew = Workers(engine, jobs, retries, _options(engine, slurm=slurm, ray=ray))
    first, more = given_prompts(template)
    experiment = Experiment(
        protocol=protocol,
        model=model or assets.MODEL_NAME,
        pretrained=pretrained,
        datasets=_words(datasets),
        source=source,
        methods=_words(methods),
        seeds=_numbers("seeds", seeds),
        shots=[parse_shots(word) for word in _words(shots) or []] or None,
        settings=settings,
        sweeps=_words(sweep),
        values=[value_of(text) for text in _words(values) or []] or None,
        overrides={"precision": precision, "augment": augment, **set_fields(ctx, set_)},
        template=first or None,
        prompts=None if more is None else more.to_json(),
        data_root=data_root,
        test_fraction=test_fraction,
        nested=bool(nested),
        class_names=_names(_words(datasets) or [], class_names, nested=bool(nested)),
        test_split=test_split,
        fusion=fusion,
        calibrate=calibrate,
    )
    planned = plan(experiment)
    runtime = Runtime(
        device=device,
        workers=workers,
        quiet=quiet,
        cache_gb=cache_gb,
        cuda_graph=cuda_graph,
        ranks=ranks(),
    )
    if dry_run:
        show(planned, output, runtime, crew)
        return
    todo = len(unfinished(planned, output))
    say(f"{counted(len(planned), 'run')}, {len(planned) - todo} finished already.")
    outcomes = run_all(planned, output, runtime, crew)
    failed = [outcome for outcome in outcomes if outcome.error]
    say(f"tables and figures: open-clip-mmrl report {output}")
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(outcomes)} runs failed, the first with: {failed[0].error}\n"
            "The others are kept; give the same command again when the cause is fixed."
        )


def _names(datasets: Sequence[str], path: Path | None, *, nested: bool) -> dict[str, str] | None:
    """Read class names for the one folder: among the data sets."""
    from ..data.load import read_names

    folders = [spec for spec in datasets if spec.startswith("folder:")]
    if path is None:
        return None
    if len(folders) != 1:
        raise UsageError("a file of class names is for one folder:PATH; name it with --datasets.")
    return read_names(folders[0], path, nested=nested)


def _options(engine: Engine, **given: str | None) -> dict[str, object]:
    """Read the options of the cluster.

    Raises:
        UsageError: they are for another engine, or one has no value.
    """
    for name, text in given.items():
        if text is not None and name != engine:
            raise UsageError(f"--{name} is for --engine {name}; the engine is {engine}.")
    options: dict[str, object] = {}
    for word in _words(given.get(engine)) or []:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--{engine} has {word!r}; write NAME=VALUE.")
        options[name] = value_of(value)
    return options


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _numbers(name: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise UsageError(f"{name} is {text!r}; give whole numbers separated by commas.") from error
