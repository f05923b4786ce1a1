"""The progress of long work on standard error: loss, speed, time left; a bar, or lines of a log."""

from __future__ import annotations

import logging
import time
from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from .console import PlainConsole
from .text import in_words, printable

logger = logging.getLogger(__name__)

EVERY = 30.0
"""Seconds between two lines where there is no bar; after an epoch a second is enough."""


MEASURED_STEPS, MEASURED_SECONDS, WORTH_TELLING = 3, 2.0, 10.0
"""Steps and seconds that an estimate is measured on at least, and seconds left from which it is
logged."""


class Progress:
    """One progress bar, as a context manager; without a terminal or notebook a line now and then.

    Args:
        what: the text in front of the bar.
        total: number of steps; None where it is not known.
        quiet: show nothing.
        unit: what `advance` counts for the speed.
        estimate: log how long all will take, once the first steps tell.
    """

    def __init__(
        self,
        what: str,
        total: float | None,
        *,
        quiet: bool = False,
        unit: str = "images",
        estimate: bool = False,
    ) -> None:
        console = PlainConsole(stderr=True)
        # In a file rich would leave only empty lines: lines are logged there.
        shown = not quiet and (console.is_terminal or console.is_jupyter)
        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not shown,
            transient=True,
        )
        self._task = self._bar.add_task(printable(what, keep=""), total=total, note="")
        self._logs, self._what, self._note = not quiet and not shown, what, ""
        self._done, self._unit = 0.0, unit
        self._first: tuple[float, float] | None = None
        self._estimates = estimate and not quiet
        self._start = self._logged = time.perf_counter()

    def __enter__(self) -> Progress:
        if not self._bar.disable:  # a disabled bar would still end with an empty line
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._bar.disable:
            self._bar.stop()

    def advance(self, steps: float, *, images: float = 0, loss: float | None = None) -> None:
        """Advance the bar.

        Args:
            steps: steps done since the last call.
            images: images, or other units, done since the last call; for the speed.
            loss: the current loss, to be shown.
        """
        self._done += images
        parts = [] if loss is None else [f"loss {loss:.3f}"]
        if self._done:
            speed = self._done / (time.perf_counter() - self._start)
            parts.append(f"{speed:.1f} {self._unit}/s")
        self._note = "  ".join(parts)
        self._bar.update(self._task, advance=steps, note=self._note)
        if self._estimates and images:
            self._estimate()
        self._log(EVERY)

    def mark(self, what: str, *, last: bool = False) -> None:
        """Log a line where no bar is shown, unless there was one within the last second.

        Args:
            what: what has been reached, such as "epoch 3/10".
            last: log in any case.
        """
        self._log(0.0 if last else 1.0, what)

    def _estimate(self) -> None:
        """Log once how long the rest takes, by the steps after the first, which warms up."""
        task, now = self._bar.tasks[self._task], time.perf_counter()
        if self._first is None:
            self._first = (task.completed, now)
            return
        steps, seconds = task.completed - self._first[0], now - self._first[1]
        if steps < MEASURED_STEPS or seconds < MEASURED_SECONDS or task.total is None:
            return
        self._estimates = False
        left = seconds / steps * (task.total - task.completed)
        if left >= WORTH_TELLING:
            message = "%s: about %s left, as measured on %d steps"
            logger.info(message, self._what, in_words(left), steps)

    def _log(self, every: float, what: str = "") -> None:
        now = time.perf_counter()
        if not self._logs or now - self._logged < every:
            return
        self._logged = now
        if not what:
            task = self._bar.tasks[self._task]
            of = "" if task.total is None else f"/{task.total:g}"
            what = f"{task.completed:g}{of}"
        elapsed = f"{now - self._start:.0f} s"
        logger.info("%s: %s", self._what, "  ".join(filter(None, (what, self._note, elapsed))))
