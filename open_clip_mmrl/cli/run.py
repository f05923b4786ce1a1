"""`open-clip-mmrl run PROTOCOL`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ..config import CACHE_GB, METHODS, PROTOCOLS, SWEEP_NAMES, Protocol, SettingsSource
from ..errors import UsageError
from ..utils.stop import RESUMES
from ..utils.text import counted, listing
from .common import (
    AugmentOption,
    CacheOption,
    DeviceOption,
    FusionOption,
    GraphOption,
    ModelOption,
    PrecisionOption,
    PretrainedOption,
    QuietOption,
    RootOption,
    SplitOption,
    WorkersOption,
    command,
    path_option,
    say,
)

if TYPE_CHECKING:
    from ..experiments.protocols import PlannedRun
    from ..experiments.run_spec import Runtime


class ListOptions(TyperCommand):
    """A command that takes `--shots 1 2 4` as well as `--shots 1,2,4`."""

    lists = ("--datasets", "--methods", "--seeds", "--shots", "--sweep", "--values")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the words that follow a list option with commas, then parse as usual."""
        joined: list[str] = []
        for word in args:
            more = len(joined) > 1 and joined[-2] in self.lists
            if more and not word.startswith("--") and word not in PROTOCOLS:
                joined[-1] += f",{word}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)


@command(RESUMES)
def run(
    protocol: Annotated[Protocol, typer.Argument(help="The protocol to run.")],
    output: Annotated[
        Path,
        path_option("Folder of all runs; give it again to resume."),
    ],
    model: ModelOption = None,
    pretrained: PretrainedOption = None,
    datasets: Annotated[
        str | None,
        typer.Option(
            help="Names of coop: data sets or SPECs, separated by commas or spaces; in "
            "cross-dataset and domain-generalization the targets. Default: the paper's."
        ),
    ] = None,
    source: Annotated[
        str, typer.Option(help="What cross-dataset and domain-generalization train on.")
    ] = "imagenet",
    methods: Annotated[
        str | None, typer.Option(help=f"Separated by commas, of {', '.join(METHODS)}.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Separated by commas.")] = "1,2,3",
    shots: Annotated[
        str | None, typer.Option(help="Separated by commas. Default: 16; few-shot: 1,2,4,8,16.")
    ] = None,
    settings: Annotated[
        SettingsSource,
        typer.Option(
            help="paper: per data set, by the authors, for MMRL by test accuracy (they trained in "
            "mixed precision: add --precision amp_fp16); fixed: one for "
            "all; validation: alpha, lambda, beta chosen on held-out shots; demo: the demo's."
        ),
    ] = "fixed",
    sweep: Annotated[
        str | None,
        typer.Option(help=f"ablation: separated by commas, of {', '.join(SWEEP_NAMES)}."),
    ] = None,
    values: Annotated[
        str | None, typer.Option(help="Points of the one sweep, instead of the paper's.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE: any other field of MMRLConfig or TrainConfig."),
    ] = None,
    data_root: RootOption = None,
    precision: PrecisionOption = "fp32",
    fusion: FusionOption = "logits",
    test_split: SplitOption = "test",
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time on this machine.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and an estimate of their time.")
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
    from ..experiments.experiment import Experiment
    from ..experiments.protocols import plan
    from ..experiments.run_spec import Runtime
    from ..experiments.runner import run_all, unfinished

    experiment = Experiment(
        protocol=protocol,
        model=model or assets.MODEL_NAME,
        pretrained=pretrained,
        datasets=_words(datasets),
        source=source,
        methods=_words(methods),
        seeds=_numbers("seeds", seeds),
        shots=_numbers("shots", shots) if shots else None,
        settings=settings,
        sweeps=_words(sweep),
        values=[_value(text) for text in _words(values) or []] or None,
        overrides={**_fields(set_ or []), "precision": precision, "augment": augment},
        data_root=data_root,
        test_split=test_split,
        fusion=fusion,
    )
    planned = plan(experiment)
    runtime = Runtime(
        device=device,
        workers=workers,
        quiet=quiet,
        cache_gb=cache_gb,
        cuda_graph=cuda_graph,
    )
    if dry_run:
        _show(planned, output, runtime)
        return
    todo = len(unfinished(planned, output))
    say(f"{counted(len(planned), 'run')}, {len(planned) - todo} finished already.")
    outcomes = run_all(planned, output, runtime, jobs)
    failed = [outcome for outcome in outcomes if outcome.error]
    say(f"tables and figures: open-clip-mmrl report {output}")
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(outcomes)} runs failed, the first with: {failed[0].error}\n"
            "The others are kept; give the same command again when the cause is fixed."
        )


def _show(planned: Sequence[PlannedRun], output: Path, runtime: Runtime) -> None:
    """Print every run with an estimate of its time, and the sum."""
    from ..data import load_data
    from ..experiments.resolve import require_tested
    from ..experiments.results import RESULTS
    from ..experiments.runner import unfinished
    from ..experiments.time_estimate import in_words, matrix_product_rate, seconds_of
    from ..utils.devices import pick_device

    rate = matrix_product_rate(pick_device(runtime.device))
    todo, data, total = unfinished(planned, output), {}, 0.0
    for item in planned:
        run = item.run
        if run.data not in data:
            try:
                found = load_data(run.data, data_root=run.data_root, quiet=runtime.quiet)
                require_tested(found, run)
                data[run.data] = found
            except ValueError as error:
                data[run.data] = None
                say(f"{run.data} cannot be used: {error}")
        if item not in todo:
            note = _finished(output / item.folder / RESULTS)
        elif item.reuse_from:
            note = f"shares the training of {item.reuse_from[0]}"
        elif data[run.data] is None:
            note = "its data cannot be used"
        else:
            seconds = seconds_of(run, data[run.data], rate)
            total += seconds
            note = f"about {in_words(seconds)}"
        say(f"{item.folder}: {note}")
    say(
        f"{counted(len(planned), 'run')}, {len(planned) - len(todo)} finished; the rest about "
        f"{in_words(total)} on this {pick_device(runtime.device).type}, by counting operations "
        "(a factor of two either way; targets of transfer are not counted)."
    )
    unusable = [spec for spec, found in data.items() if found is None]
    if unusable:
        raise ValueError(f"data that cannot be used: {listing(unusable)}; the reasons are above.")


def _finished(path: Path) -> str:
    from ..experiments.results import RunResult

    try:
        RunResult.read(path)
    except (ValueError, OSError) as error:
        return f"damaged ({error})"
    return "finished"


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _numbers(name: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise UsageError(f"{name} is {text!r}; give whole numbers separated by commas.") from error


def _fields(pairs: list[str]) -> dict[str, Any]:
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--set {pair!r} has no '='; write NAME=VALUE, as in rep_dim=64.")
    return {name.strip(): _value(value) for name, value in (p.split("=", 1) for p in pairs)}


def _value(text: str) -> Any:
    """Read a number, true, false or null; anything else is the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
