"""Peak memory of some work, measured in a separate process."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

import torch

from ...utils.stop import starting_processes

Prepare: TypeAlias = (
    "Callable[[], tuple[torch.device, AbstractContextManager[Callable[[], object]]]]"
)
"""Called in the process; builds what is not counted. Returns the device, and a context that builds
the step, which is. A partial of a module's function, so that it can be sent to the process."""


def peak_bytes(prepare: Prepare, what: str) -> int:
    """Return the peak memory of two steps above what was there before them, in a new process.

    Args:
        prepare: see `Prepare`.
        what: is measured, for the message where the process dies.

    Raises:
        RuntimeError: the process ended early, or peak memory cannot be read on this system.
    """
    context, threads = multiprocessing.get_context("spawn"), torch.get_num_threads()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_peak, args=(prepare, sender, threads))
    with starting_processes():
        child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError as error:
        raise RuntimeError(
            f"the process that measures the memory of {what} ended early: it may need more than "
            "this machine has; try fewer classes, a smaller batch or text_chunk_size."
        ) from error
    finally:
        child.join()


def _send_peak(prepare: Prepare, sender: Connection, threads: int) -> None:
    torch.set_num_threads(threads)
    device, build = prepare()
    gc.collect()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        before = _reset_resident_peak()
    with build as step:
        step(), step()
        on_gpu = device.type == "cuda"
        peak = torch.cuda.max_memory_allocated() if on_gpu else _resident("VmHWM")
    sender.send(peak - before)


def _reset_resident_peak() -> int:
    """Reset the high-water mark to what is resident now, in bytes, and return that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        raise RuntimeError("peak memory on the CPU is read from /proc: Linux only.") from error
    return _resident("VmRSS")


def _resident(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {key}.")
