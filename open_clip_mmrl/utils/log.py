"""What the package says while it works: the standard library's logging, shown by the command line.

Modules log with `logging.getLogger(__name__)`: `info` for what happens, `warning` for what a user
should act on. Without a handler of the user's own, Python shows the warnings alone.
"""

from __future__ import annotations

import logging

from rich.console import Console

PACKAGES = ("open_clip_mmrl", "benchmark_adapters")


class ConsoleHandler(logging.Handler):
    """Print bare messages on standard error, above any progress bar there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        # A console of its own each time: standard error may have been replaced since.
        console = Console(stderr=True)
        console.print(self.format(record), highlight=False, markup=False, soft_wrap=True)


def show_messages(level: int = logging.INFO) -> None:
    """Show the packages' messages on standard error. Idempotent; for programs, not libraries."""
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False
        if not any(isinstance(handler, ConsoleHandler) for handler in logger.handlers):
            logger.addHandler(ConsoleHandler())
