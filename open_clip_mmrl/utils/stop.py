"""Ctrl-C and SIGTERM for command lines: one line, an exit code, no process left. No heavy import.

A KeyboardInterrupt alone does not do: it may be raised in a place that swallows it, threads and
workers print tracebacks of their own, and pools are waited for.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

RESUMES = "The same command resumes from the last finished epoch."
AGAIN = "The same command begins again."
GRACE = 0.6
"""Seconds in which `finally` and the end of `with` may clean up."""

_main = -1
"""Id of the process that `install` was called in; forked workers inherit the handler."""
_hint = AGAIN
_code: int | None = None
"""Exit code, once a signal has come."""


def install(hint: str = AGAIN) -> None:
    """Let SIGINT and SIGTERM end this program; a signal that is ignored stays so.

    Args:
        hint: what to say after "Stopped.", such as how to resume.
    """
    global _main, _hint
    _main, _hint = os.getpid(), hint
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, _stop)


def end_if_stopped() -> None:
    """End the process if a signal has come, whatever became of its KeyboardInterrupt."""
    if _code is not None:
        _end(_code)


def end_with_workers(code: int) -> None:
    """End this process at once, and the processes that it started."""
    for process in _children():
        process.kill()
    os._exit(code)


def end_worker_on_sigterm() -> None:
    """Let a worker process end its own workers with itself, without a word; Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the terminal: the parent ends its children
    signal.signal(signal.SIGTERM, lambda number, _: end_with_workers(128 + number))


@contextmanager
def starting_processes() -> Generator[None, None, None]:
    """Let processes that are started within ignore Ctrl-C from their first moment on.

    They inherit that it is blocked. Here it only waits until the end of the `with`.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_tracker() -> None:
    """Begin multiprocessing's resource tracker without its warning.

    A stop that comes before all is closed leaves semaphores to it, which it removes, and tells.
    """
    from multiprocessing import resource_tracker

    given = list(sys.warnoptions)
    sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions[:] = given


def _stop(number: int, _frame: object) -> None:
    global _code
    code = 128 + number
    if os.getpid() != _main:
        os._exit(code)
    if _code is not None:
        _end(_code)
    _code = code
    # Not print: the signal may have come in the midst of one.
    clear = "\r\x1b[2K\x1b[?25h" if os.isatty(2) else ""  # the progress bar; it hides the cursor
    os.write(2, f"{clear}Stopped. {_hint}\n".encode())
    for process in _children():
        process.terminate()
    with suppress(OSError):  # what threads and libraries have to say about it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    timer = threading.Timer(GRACE, _end, (code,))
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError:  # the interpreter is ending
        _end(code)
    raise KeyboardInterrupt


def _end(code: int) -> None:
    with suppress(Exception):
        sys.stdout.flush()
    end_with_workers(code)


def _children() -> list[Any]:
    multiprocessing = sys.modules.get("multiprocessing")
    return [] if multiprocessing is None else multiprocessing.active_children()
