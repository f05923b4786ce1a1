"""Many runs: one after the other, or several at a time by an engine.

A run that fails does not stop the others. Given again, the same command keeps finished runs, and
resumes stopped ones from their last epoch.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

from ..utils.files import json_bytes, write_atomically
from ..utils.folder_lock import lock_folder
from ..utils.text import in_words
from .engines import ENGINES
from .engines.workers import Submit, Workers
from .job import PLAN, Job, Origin, Outcome, planned_folders
from .kept_base import forget_base
from .protocols import PlannedRun
from .result_parts import known
from .results import RESULTS
from .run_spec import Runtime

logger = logging.getLogger(__name__)


def run_all(
    planned: Sequence[PlannedRun],
    output: str | Path,
    runtime: Runtime,
    workers: Workers,
) -> list[Outcome]:
    """Carry out all runs below `output`, and log each as it ends.

    While it works, the same runs cannot be begun by another command.

    Args:
        planned: as `plan` returns them: runs whose training others reuse come first.
        output: folder of all runs.
        runtime: where and how to carry them out.
        workers: who carries them out.

    Raises:
        UsageError: another command works on these runs, or the engine cannot begin; nothing is
            touched then.
        OSError: a folder cannot be written.
    """
    output = Path(output)
    todo = {item.folder for item in unfinished(planned, output)}
    runtime = replace(runtime, keep_base=True)
    with ExitStack() as context:
        # Not the runs' own folders, which the processes that work in them lock.
        for folder in sorted({folder.parent for folder in todo}):
            context.enter_context(lock_folder(output / folder))
        if workers.engine == "local" and (workers.jobs or 1) == 1:
            context.callback(forget_base)
            carry_out = partial(_in_turn, output, runtime, workers.retries)
        else:
            output = output.resolve()  # other machines may have another working folder
            submit = context.enter_context(ENGINES[workers.engine](output, workers))
            origin = None if workers.engine == "local" else Origin.below(output)
            silent = replace(runtime, quiet=True)
            carry_out = partial(_submitted, submit, output, silent, origin, workers.retries)
        if todo:
            _note_plan(planned, output)
        return _run_all(planned, carry_out, todo)


def _note_plan(planned: Sequence[PlannedRun], output: Path) -> None:
    """Write down, for `status`, which runs are to come, next to those of earlier commands."""
    folders = planned_folders(output) | {str(item.folder) for item in planned}
    write_atomically(output / PLAN, json_bytes({"folders": sorted(folders)}))


def _run_all(
    planned: Sequence[PlannedRun],
    carry_out: Callable[[Sequence[PlannedRun]], Iterator[Outcome]],
    todo: set[PurePosixPath],
) -> list[Outcome]:
    start = time.perf_counter()
    outcomes: list[Outcome] = []
    working = len(todo)
    stages = [[p for p in planned if not p.reuse_from], [p for p in planned if p.reuse_from]]
    for outcome in chain.from_iterable(map(carry_out, stages)):
        outcomes.append(outcome)
        todo.discard(outcome.planned.folder)  # finished ones take no time, and do not count
        left = (time.perf_counter() - start) / max(working - len(todo), 1) * len(todo)
        level = logging.WARNING if outcome.error else logging.INFO
        logger.log(level, _line(outcome, len(outcomes), len(planned), left))
    return outcomes


def _in_turn(
    output: Path, runtime: Runtime, retries: int, stage: Sequence[PlannedRun]
) -> Iterator[Outcome]:
    """Carry out one run after the other in this process."""
    told: set[str] = set()
    for item in stage:
        # The first run of every data set describes it in a line.
        first = item.run.data not in told
        told.add(item.run.data)
        job = Job(item, output, replace(runtime, describe="briefly") if first else runtime)
        outcome = job()
        for _ in range(retries):
            if not outcome.may_succeed:
                break
            _log_retry(outcome)
            outcome = job()
        yield outcome


def _submitted(
    submit: Submit,
    output: Path,
    runtime: Runtime,
    origin: Origin | None,
    retries: int,
    stage: Sequence[PlannedRun],
) -> Iterator[Outcome]:
    """Give all runs to an engine, and a failed one again at once."""
    jobs = [Job(item, output, runtime, origin) for item in stage]
    waiting = dict(zip(submit(jobs), jobs, strict=True))
    tries: Counter[PurePosixPath] = Counter()
    while waiting:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            job, outcome = waiting.pop(future), future.result()
            folder = job.planned.folder
            if outcome.may_succeed and tries[folder] < retries:
                tries[folder] += 1
                _log_retry(outcome)
                waiting[submit([job])[0]] = job
            else:
                yield outcome


def _log_retry(outcome: Outcome) -> None:
    logger.warning("%s failed and is tried again: %s", outcome.planned.folder, outcome.error)


def unfinished(planned: Sequence[PlannedRun], output: str | Path) -> list[PlannedRun]:
    """Return the runs whose results are not there yet."""
    return [item for item in planned if not (Path(output) / item.folder / RESULTS).is_file()]


def _line(outcome: Outcome, done: int, total: int, left: float) -> str:
    head = f"[{done}/{total}] {outcome.planned.folder}: "
    tail = f"   ({in_words(outcome.seconds)}, {in_words(left)} left)" if done < total else ""
    if outcome.error:
        return f"{head}FAILED: {outcome.error}{tail}"
    shown = "  ".join(
        f"{'HM' if name == 'hm' else name} {value:.1f}"
        for name, value in known(outcome.metrics or {}).items()
    )
    return head + shown + tail
