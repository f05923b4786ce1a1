"""Messages on the way: the standard library's logging, which the command line shows.

Modules log with `logging.getLogger(__name__)`: `info` for progress, `warning` for what a user
should act on. Where a program sets no handler, Python shows only the warnings.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .text import printable

PACKAGES = ("open_clip_mmrl", "benchmark_adapters")


class ConsoleHandler(logging.Handler):
    """A handler that prints plain messages on standard error, above any progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        # Looked up each time: a progress bar replaces standard error while it is shown.
        print(printable(self.format(record)), file=sys.stderr)


def show_messages(level: int = logging.INFO) -> None:
    """Show the messages of our packages on standard error from now on.

    For programs and their worker processes, not for libraries. Calling it again sets the level.
    """
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False  # open_clip gives the root logger a handler of its own
        if not any(isinstance(handler, ConsoleHandler) for handler in logger.handlers):
            logger.addHandler(ConsoleHandler())


@contextmanager
def each_once(name: str) -> Iterator[None]:
    """Within it, pass each message of a logger once: several steps may find the same."""
    seen: set[str] = set()
    logger = logging.getLogger(name)

    def is_new(record: logging.LogRecord) -> bool:
        known, message = len(seen), record.getMessage()
        seen.add(message)
        return len(seen) > known

    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)
