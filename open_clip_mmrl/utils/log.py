"""Messages on the way: the standard library's logging, which the command line shows.

Modules log with `logging.getLogger(__name__)`: `info` for progress, `warning` for what a user
should act on. Where a program sets no handler, Python shows only the warnings.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

from .text import printable

PACKAGES = ("open_clip_mmrl", "benchmark_adapters")


class ConsoleHandler(logging.Handler):
    """A handler that prints plain messages on standard error, above any progress bar.

    The same text is printed once per command: several steps of it come upon the same facts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message; where nobody can read it any more, the work goes on."""
        text = self.format(record)
        if text not in self.shown:
            self.shown.add(text)
            with suppress(OSError):
                # Looked up each time: a progress bar replaces standard error while it is shown.
                print(printable(text), file=sys.stderr)


def show_messages(level: int = logging.INFO) -> None:
    """Show the messages of our packages on standard error from now on.

    For programs and their worker processes, not for libraries. Calling it again sets the level,
    and messages that were shown are shown again.
    """
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False  # open_clip gives the root logger a handler of its own
        handlers = [one for one in logger.handlers if isinstance(one, ConsoleHandler)]
        if not handlers:
            logger.addHandler(ConsoleHandler())
        for handler in handlers:
            handler.shown.clear()
