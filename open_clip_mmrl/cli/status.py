"""`open-clip-mmrl status`."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..utils.text import counted, in_words, printable
from .common import OUTPUT, command, given_path, option, out

if TYPE_CHECKING:
    from ..experiments.status import RunStatus

WATCH_SECONDS = 5.0


@command()
def status(
    folder: Annotated[
        Path,
        typer.Argument(parser=given_path, metavar="DIR", help="Folder that run or train wrote."),
    ],
    watch: Annotated[
        bool, option(OUTPUT, "Look again every five seconds until all have ended.", "--watch")
    ] = False,
) -> None:
    """Tell how far the runs of a folder are, on whatever machine they run."""
    shown, going = _shown(folder)
    if not watch:
        out.print(shown)
        return
    with Live(shown, console=out, auto_refresh=False) as live:
        while going:
            time.sleep(WATCH_SECONDS)
            shown, going = _shown(folder)
            live.update(shown, refresh=True)


def _shown(folder: Path) -> tuple[Group, bool]:
    """Return the table with its sum, and whether a run still runs or waits."""
    from ..experiments.status import seconds_left, statuses

    found = statuses(folder)
    table = Table("run", "state", "epoch", "loss", "images/s", "left", "", box=None)
    for run in found:
        if run.state not in ("finished", "waiting"):
            table.add_row(*(Text(printable(cell)) for cell in _row(run)))
    counts = Counter(run.state for run in found)
    sums = ", ".join(f"{counts[state]} {state}" for state in sorted(counts))
    left = seconds_left(found, folder)
    end = "" if left is None else f"; about {in_words(left)} left"
    total = Text(f"{counted(len(found), 'run')}: {sums}{end}")
    going = bool(counts["running"] or counts["waiting"])
    return Group(*([table] if table.row_count else []), total), going


def _row(run: RunStatus) -> tuple[str, ...]:
    epochs = "" if run.epochs is None else f"{run.epochs[0]}/{run.epochs[1]}"
    loss = "" if run.loss is None else f"{run.loss:.3f}"
    speed = "" if run.images_per_second is None else f"{run.images_per_second:.0f}"
    is_going = run.state == "running" and run.seconds_left is not None
    left = in_words(run.seconds_left or 0) if is_going else ""
    return run.folder, run.state, epochs, loss, speed, left, run.note
