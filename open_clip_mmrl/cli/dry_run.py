"""What `run --dry-run` prints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..utils.text import counted, in_words, listing
from .common import say

if TYPE_CHECKING:
    from ..experiments.engines.workers import Workers
    from ..experiments.protocols import PlannedRun
    from ..experiments.run_spec import FewShotRun, Runtime
    from ..experiments.time_estimate import Rates
    from .speed.settings import SpeedSettings

_CLASSES = 50
"""Of the step that is measured."""


def show(planned: Sequence[PlannedRun], output: Path, runtime: Runtime, workers: Workers) -> None:
    """Print every run with an estimate of its time, the sum, and what workers make of it.

    Nothing is begun or submitted, and no cluster is asked.
    """
    from ..experiments.resolve import data_of, require_tested
    from ..experiments.results import RESULTS
    from ..experiments.runner import unfinished
    from ..experiments.time_estimate import seconds_of
    from ..utils.devices import pick_device

    todo, data, stages = unfinished(planned, output), {}, defaultdict[bool, list[float]](list)
    for item in planned:
        run = item.run
        if run.data not in data:
            try:
                found = data_of(run, quiet=runtime.quiet)
                require_tested(found, run)
                data[run.data] = found
            except ValueError as error:
                data[run.data] = None
                say(f"{run.data} cannot be used: {error}")
        if item not in todo:
            note = _finished(output / item.folder / RESULTS)
        elif data[run.data] is None:
            note = "its data cannot be used"
        else:
            reuses = bool(item.reuse_from)
            rates = _rates(run, runtime, workers)
            seconds = seconds_of(run, data[run.data], rates, trains=not reuses)
            stages[reuses].append(seconds)
            shared = f", shares the training of {item.reuse_from[0]}" if reuses else ""
            note = f"about {in_words(seconds)}{shared}"
        say(f"{item.folder}: {note}")
    say(
        f"{counted(len(planned), 'run')}, {len(planned) - len(todo)} finished; the rest about "
        f"{in_words(sum(map(sum, stages.values())))} in all on this "
        f"{pick_device(runtime.device).type}, by a measured step (a factor of two either way; "
        "targets of transfer are not counted)."
    )
    if stages:
        for line in _of_workers([stages[key] for key in sorted(stages)], workers):
            say(line)
    unusable = [spec for spec, found in data.items() if found is None]
    if unusable:
        raise ValueError(f"data that cannot be used: {listing(unusable)}; the reasons are above.")


def _of_workers(stages: Sequence[Sequence[float]], workers: Workers) -> list[str]:
    """Describe stages of runs, which wait for each other, as the engine carries them out."""
    from ..experiments.time_estimate import makespan

    runs, jobs = sum(map(len, stages)), workers.jobs or (1 if workers.engine == "local" else None)
    counts = ", then ".join(str(len(stage)) for stage in stages)
    options = " ".join(f"{name}={value}" for name, value in workers.options.items())
    what = {
        "local": f"local: {counts}",
        "slurm": f"slurm: arrays of {counts} with {options or 'no options'}",
        "ray": f"ray: {counts} in workers with {options or 'num_cpus=1'}",
    }[workers.engine]
    if jobs is None:
        return [f"{what}: at least {in_words(makespan(stages, runs))}, with room for all."]
    return [f"{what}, {jobs} at a time: about {in_words(makespan(stages, jobs))}."]


def _rates(run: FewShotRun, runtime: Runtime, workers: Workers) -> Rates:
    """Return operations per second from a step with the run's model, batch size and precision.

    On this machine; with its share of the cores where runs share them.
    """
    from ..experiments.time_estimate import Rates, Work
    from ..hub.names import ModelName
    from .speed.settings import TEMPLATE, SpeedSettings, class_names

    name = ModelName.parse(run.model)
    settings = SpeedSettings(
        model=name.base,
        method=name.method,
        classes=_CLASSES,
        batch_size=run.train.batch_size,
        precision=run.train.precision,
        device=runtime.device,
        repeats=2,
    )
    jobs = (workers.jobs or 1) if workers.engine == "local" else 1
    training, scoring = _measured(settings, jobs)
    work = Work.of(run.replace(settings={}), class_names(_CLASSES), TEMPLATE)
    return Rates(
        (settings.batch_size * work.image_step + work.text_step) / training,
        settings.eval_batch_size * work.scoring / scoring,
    )


@cache
def _measured(settings: SpeedSettings, jobs: int) -> tuple[float, float]:
    """Return the seconds of a training step and of a batch that is scored."""
    import torch

    from .speed.bench import OURS, Bench

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // jobs))
    bench = Bench(settings)
    step = partial(bench.train_step(OURS), *bench.batch(_CLASSES))
    found = bench.seconds({"training": step, "scoring": bench.eval_step(OURS)})
    torch.set_num_threads(threads)
    return found["training"], found["scoring"]


def _finished(path: Path) -> str:
    from ..experiments.results import RunResult

    try:
        RunResult.read(path)
    except (ValueError, OSError) as error:
        return f"damaged ({error})"
    return "finished"
