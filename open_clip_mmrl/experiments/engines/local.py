"""Several runs at a time in processes of this machine, which share only the disk."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import torch

from ...utils import stop
from ...utils.log import show_messages
from ..job import Job, Outcome
from .workers import Submit, Workers


@contextmanager
def processes(_output: Path, workers: Workers) -> Generator[Submit, None, None]:
    """Carry out runs in processes, each with its share of cores and of GPUs.

    A process that dies takes only its own run with it.
    """
    jobs = workers.jobs or 1
    stop.begin_tracker()
    slots: SimpleQueue[_Slot] = SimpleQueue()
    all_slots = [_Slot(number, jobs) for number in range(jobs)]
    for slot in all_slots:
        slots.put(slot)

    def carry_out(job: Job) -> Outcome:
        slot = slots.get()
        try:
            return slot.carry_out(job)
        finally:
            slots.put(slot)

    threads = ThreadPoolExecutor(jobs)

    def submit(several: Sequence[Job]) -> list[Future[Outcome]]:
        return [threads.submit(carry_out, job) for job in several]

    try:
        with stop.starting_processes():  # a stop waits until they can be terminated
            for slot in all_slots:
                slot.pool.submit(int)
        yield submit
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        for slot in all_slots:
            slot.terminate()  # each run resumes from its last epoch next time
        raise
    finally:
        threads.shutdown(wait=True)
        for slot in all_slots:
            slot.close()


class _Slot:
    """One process at a time, replaced when it dies."""

    def __init__(self, number: int, jobs: int) -> None:
        self.threads = max(1, (os.cpu_count() or 1) // jobs)
        self.gpu = gpu_of(number)
        self.pool, self.is_broken = self._pool(), False

    def _pool(self) -> ProcessPoolExecutor:
        # Its semaphores begin multiprocessing's resource tracker, which lets Ctrl-C through again:
        # not within `starting_processes`.
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        return ProcessPoolExecutor(1, context, _begin, (self.threads, self.gpu))

    def carry_out(self, job: Job) -> Outcome:
        if self.is_broken:
            self.pool, self.is_broken = self._pool(), False
        try:
            with stop.starting_processes():
                future = self.pool.submit(job)
            return future.result()
        except BrokenProcessPool:
            self.pool.shutdown(wait=True)
            self.is_broken = True
            return job.lost("its process died; out of memory? Use fewer jobs")

    def terminate(self) -> None:
        for process in list((self.pool._processes or {}).values()):
            process.terminate()

    def close(self) -> None:
        """Give the pool up, with its semaphores: the program may end by a signal."""
        self.pool.shutdown(wait=True)
        del self.pool


def gpu_of(number: int) -> str | None:
    """Return which of the visible GPUs the process of this number sees; None without GPUs."""
    count = torch.cuda.device_count()
    if count < 2:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(count)]
    return names[number % count]


def _begin(threads: int, gpu: str | None) -> None:
    """Give a process its share of the machine, and end it when its parent ends."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # nothing has asked CUDA for devices yet
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
