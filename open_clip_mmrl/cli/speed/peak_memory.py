"""Peak memory of some work, measured in a process of its own."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import torch


def peak_bytes(
    prepare: Callable[[], tuple[torch.device, Callable[[], Callable[[], None]]]], what: str
) -> int:
    """Peak memory of two steps above what was there before them, from a fresh process.

    Args:
        prepare: called in the process; builds what is not to be counted and returns the device
            and a function that builds the step. A partial of a module's function, to be sent.
        what: for the message where the process dies.
    """
    context, threads = multiprocessing.get_context("spawn"), torch.get_num_threads()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_report_peak, args=(prepare, sender, threads))
    child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError as error:
        raise RuntimeError(
            f"the process that measures the memory of {what} ended early: it may be more than "
            "this machine holds; try fewer classes, a smaller batch or text_chunk_size."
        ) from error
    finally:
        child.join()


def _report_peak(prepare, sender, threads: int) -> None:
    torch.set_num_threads(threads)
    device, build = prepare()
    gc.collect()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        before = _reset_resident_peak()
    step = build()
    step(), step()
    if device.type == "cuda":
        sender.send(torch.cuda.max_memory_allocated() - before)
    else:
        sender.send(_resident("VmHWM") - before)


def _reset_resident_peak() -> int:
    """Set the high-water mark back to what is resident now, in bytes, and return that."""
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
