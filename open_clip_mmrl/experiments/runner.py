"""Many runs: one after the other, or several at a time on one machine.

A run that fails does not stop the others. Given again, the same command keeps finished runs, and
resumes stopped ones from their last epoch.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch

from ..utils import stop
from ..utils.folder_lock import lock_folder
from ..utils.log import show_messages
from ..utils.text import in_words
from .execute import execute
from .protocols import PlannedRun
from .result_parts import Scores, known
from .results import RESULTS
from .run_spec import Runtime

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """Metrics of one run, or the reason why there are none."""

    planned: PlannedRun
    seconds: float
    metrics: Scores | None = None
    error: str | None = None


def run_all(
    planned: Sequence[PlannedRun], output: str | Path, runtime: Runtime, jobs: int = 1
) -> list[Outcome]:
    """Carry out all runs below `output`, and log each as it ends.

    While it works, the same runs cannot be begun by another command.

    Args:
        planned: as `plan` returns them: runs whose training others reuse come first.
        output: folder of all runs.
        runtime: where and how to carry them out.
        jobs: runs at a time; each gets its share of the processor's cores.

    Raises:
        UsageError: another command works on these runs; nothing is touched then.
        OSError: a folder cannot be written.
    """
    output = Path(output)
    todo = {item.folder for item in unfinished(planned, output)}
    with ExitStack() as locks:
        # Not the runs' own folders, which the processes that work in them lock.
        for folder in sorted({folder.parent for folder in todo}):
            locks.enter_context(lock_folder(output / folder))
        return _run_all(planned, output, runtime, jobs, todo)


def _run_all(
    planned: Sequence[PlannedRun],
    output: Path,
    runtime: Runtime,
    jobs: int,
    todo: set[PurePosixPath],
) -> list[Outcome]:
    start = time.perf_counter()
    outcomes: list[Outcome] = []
    working, told = len(todo), set()
    stages = [[p for p in planned if not p.reuse_from], [p for p in planned if p.reuse_from]]
    for stage in stages:
        running = (
            _in_processes(stage, output, runtime, jobs)
            if jobs > 1
            else (_carry_out(item, output, _telling(item, told, runtime)) for item in stage)
        )
        for outcome in running:
            outcomes.append(outcome)
            todo.discard(outcome.planned.folder)  # finished ones take no time, and do not count
            left = (time.perf_counter() - start) / max(working - len(todo), 1) * len(todo)
            level = logging.WARNING if outcome.error else logging.INFO
            logger.log(level, _line(outcome, len(outcomes), len(planned), left))
    return outcomes


def _telling(item: PlannedRun, told: set[str], runtime: Runtime) -> Runtime:
    """Let the first run of every data set describe it in a line; `told` has those so far."""
    first = item.run.data not in told
    told.add(item.run.data)
    return replace(runtime, describe="briefly") if first else runtime


def unfinished(planned: Sequence[PlannedRun], output: str | Path) -> list[PlannedRun]:
    """Return the runs whose results are not there yet."""
    return [item for item in planned if not (Path(output) / item.folder / RESULTS).is_file()]


def _in_processes(
    stage: Sequence[PlannedRun], output: Path, runtime: Runtime, jobs: int
) -> Iterator[Outcome]:
    """Carry out `jobs` runs at a time in their own processes, which share only the disk."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    silent = replace(runtime, quiet=True)
    pool = ProcessPoolExecutor(
        min(jobs, len(stage) or 1),
        mp_context=multiprocessing.get_context("spawn"),  # CUDA does not survive a fork
        initializer=_begin,
        initargs=(threads,),
    )
    try:
        with stop.starting_processes():
            waiting = {pool.submit(_carry_out, item, output, silent): item for item in stage}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                item = waiting.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    yield Outcome(item, 0, error="its process died; out of memory? Use fewer jobs")
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()  # each run resumes from its last epoch next time
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(threads: int) -> None:
    """Give a child process its share of the cores, and end it when its parent ends."""
    torch.set_num_threads(threads)
    show_messages(logging.WARNING)  # the parent logs how each run ended
    stop.end_worker_on_sigterm()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End with a killed parent, or this would go on training during the next command."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    stop.end_with_workers(1)


def _carry_out(item: PlannedRun, output: Path, runtime: Runtime) -> Outcome:
    start = time.perf_counter()
    reuse_from = [output / folder for folder in item.reuse_from]
    try:
        result = execute(item.run, output / item.folder, runtime, reuse_from=reuse_from)
    except (ValueError, RuntimeError, OSError) as error:
        return Outcome(item, time.perf_counter() - start, error=str(error))
    except Exception as error:  # nobody foresaw it, but the other runs do not depend on this one
        logger.debug("%s", item.folder, exc_info=True)
        unforeseen = f"{type(error).__name__}: {error}"
        return Outcome(item, time.perf_counter() - start, error=unforeseen)
    return Outcome(item, time.perf_counter() - start, metrics=result.metrics)


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
