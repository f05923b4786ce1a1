"""Carrying out many runs: one after the other, or several at a time on one machine.

A run that fails does not stop the others; a finished one is not repeated; a broken one goes on
from its last epoch when the same command is given again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..utils.log import show_messages
from .execute import execute
from .protocols import Planned
from .result_parts import Scores
from .results import RESULTS
from .run_spec import Runtime
from .time_estimate import in_words

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one run: its metrics, or the reason why there are none."""

    planned: Planned
    seconds: float
    metrics: Scores | None = None
    error: str | None = None


def run_all(
    planned: Sequence[Planned], output: str | Path, runtime: Runtime, jobs: int = 1
) -> list[Outcome]:
    """Carry out all runs below `output`; tells of each as it ends.

    Args:
        planned: as `plan` gives them: runs that others take their training from come first.
        jobs: runs at a time; each gets its share of the processor's cores.
    """
    output, start, outcomes = Path(output), time.perf_counter(), []
    todo = {item.folder for item in unfinished(planned, output)}
    working = len(todo)
    stages = [[p for p in planned if not p.reuse_from], [p for p in planned if p.reuse_from]]
    for stage in stages:
        carry_out = _one_by_one if jobs == 1 else _side_by_side
        for outcome in carry_out(stage, output, runtime, jobs):
            outcomes.append(outcome)
            todo.discard(outcome.planned.folder)  # finished ones take no time, and do not count
            left = (time.perf_counter() - start) / max(working - len(todo), 1) * len(todo)
            level = logging.WARNING if outcome.error else logging.INFO
            logger.log(level, _line(outcome, len(outcomes), len(planned), left))
    return outcomes


def unfinished(planned: Sequence[Planned], output: str | Path) -> list[Planned]:
    """The runs whose results are not there yet."""
    return [item for item in planned if not (Path(output) / item.folder / RESULTS).is_file()]


def _one_by_one(stage, output: Path, runtime: Runtime, jobs: int) -> Iterator[Outcome]:
    for item in stage:
        yield _carry_out(item, output, runtime)


def _side_by_side(stage, output: Path, runtime: Runtime, jobs: int) -> Iterator[Outcome]:
    """In processes of their own, so that they share nothing but the disk."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    silent = replace(runtime, quiet=True)
    pool = ProcessPoolExecutor(
        min(jobs, len(stage) or 1),
        mp_context=multiprocessing.get_context("spawn"),  # CUDA does not survive a fork
        initializer=_begin,
        initargs=(threads,),
    )
    try:
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
            process.terminate()  # each run goes on from its last epoch next time
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(threads: int) -> None:
    """A child process gets its share of the cores, and ends when its parent does."""
    torch.set_num_threads(threads)
    show_messages(logging.WARNING)  # the parent logs how each run ended
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the parent ends its children
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Else a killed parent would leave children that train on, beside those of the next command."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _carry_out(item: Planned, output: Path, runtime: Runtime) -> Outcome:
    start = time.perf_counter()
    reuse_from = [output / folder for folder in item.reuse_from]
    try:
        result = execute(item.run, output / item.folder, runtime, reuse_from=reuse_from)
    except (ValueError, RuntimeError, OSError) as error:
        return Outcome(item, time.perf_counter() - start, error=str(error))
    return Outcome(item, time.perf_counter() - start, metrics=result.metrics)


def _line(outcome: Outcome, done: int, total: int, left: float) -> str:
    head = f"[{done}/{total}] {outcome.planned.folder}: "
    tail = f"   ({in_words(outcome.seconds)}, {in_words(left)} left)" if done < total else ""
    if outcome.error:
        return f"{head}FAILED: {outcome.error}{tail}"
    shown = "  ".join(
        f"{'HM' if name == 'hm' else name} {value:.1f}"
        for name, value in outcome.metrics.items()
        if value is not None
    )
    return head + shown + tail
