"""The progress bar of long work on standard error: loss, speed, time left."""

from __future__ import annotations

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
from .text import printable


class Progress:
    """One progress bar, as a context manager; shown on terminals and in notebooks only.

    Args:
        what: the text in front of the bar.
        total: number of steps; None where it is not known.
        quiet: show nothing.
        unit: what `advance` counts for the speed.
    """

    def __init__(
        self, what: str, total: float | None, *, quiet: bool = False, unit: str = "images"
    ) -> None:
        console = PlainConsole(stderr=True)
        # In a file rich would leave only empty lines.
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
        self._start, self._done, self._unit = time.perf_counter(), 0.0, unit

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
        self._bar.update(self._task, advance=steps, note="  ".join(parts))
