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
    """A context manager around one bar; `quiet` shows nothing."""

    def __init__(self, what: str, total: int, *, quiet: bool = False) -> None:
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet,
            transient=True,
        )
        self._task = self._bar.add_task(what, total=total, note="")
        self._start, self._images = time.perf_counter(), 0

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, steps: int, *, images: int = 0, loss: float | None = None) -> None:
        """Some steps further; `images` of them were processed since the last call."""
        self._images += images
        parts = [] if loss is None else [f"loss {loss:.3f}"]
        if self._images:
            parts.append(f"{self._images / (time.perf_counter() - self._start):.1f} images/s")
        self._bar.update(self._task, advance=steps, note="  ".join(parts))
