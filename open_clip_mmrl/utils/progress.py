"""The progress bar of long work: loss, speed, time left; on standard error, beside the tables."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress


class Progress:
    """A context manager around one bar; nothing with `quiet` or into files."""

    def __init__(
        self, what: str, total: float | None, *, quiet: bool = False, unit: str = "images"
    ) -> None:
        console = Console(stderr=True)
        # In a file rich would leave nothing but empty lines.
        shown = not quiet and (console.is_terminal or console.is_jupyter)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
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
        self._task = self._bar.add_task(what, total=total, note="")
        self._start, self._done, self._unit = time.perf_counter(), 0.0, unit

    def __enter__(self) -> Progress:
        if not self._bar.disable:  # even without a bar rich would end with an empty line
            self._bar.start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:
            self._bar.stop()

    def advance(self, steps: float, *, images: float = 0, loss: float | None = None) -> None:
        """Some steps further; so many images (or other units) were done since the last call."""
        self._done += images
        parts = [] if loss is None else [f"loss {loss:.3f}"]
        if self._done:
            speed = self._done / (time.perf_counter() - self._start)
            parts.append(f"{speed:.1f} {self._unit}/s")
        self._bar.update(self._task, advance=steps, note="  ".join(parts))
