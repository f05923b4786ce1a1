"""Answers as a table for the terminal, printed as they come."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table

from ..utils.text import listing
from .common import out

if TYPE_CHECKING:
    from ..evaluation.answers import Answer, RankedClass

NONE_OF_THESE = "none of these"
_NEW = " (new)"
_ROWS = 100
"""Rows that are printed at a time."""
_NAMES = 3
"""Classes named of a set; a file written with --output names all."""


@dataclass(frozen=True)
class Columns:
    """Which columns the table has; two of them have a width, the others share what is left."""

    image: int
    name: int
    then: bool
    """Whether there is one of the classes after the best."""
    sets: str
    """Title of the one with sets; "" for none."""


def columns(
    paths: Iterable[Path],
    seen: Iterable[str],
    new: Iterable[str],
    top: int,
    *,
    coverage: float | None = None,
    reject: bool = False,
) -> Columns:
    """Return columns that fit the terminal.

    Args:
        paths: of all images; long ones lose their beginning.
        seen: names of the classes of the training.
        new: names of the new classes.
        top: classes per answer.
        coverage: of the sets; None for no sets.
        reject: whether images may be none of the classes.
    """
    names = [*seen, *(name + _NEW for name in new), *([NONE_OF_THESE] if reject else [])]
    longest = (max(map(cell_len, texts), default=0) for texts in (map(str, paths), names))
    bounds = (2 * out.width // 5 if coverage is None else out.width // 4, out.width // 4)
    image, name = (min(max(a, 5), b) for a, b in zip(longest, bounds, strict=True))
    title = "" if coverage is None else f"set, {100 * coverage:g} %"
    return Columns(image, name, then=top > 1 or reject, sets=title)


def print_table(answers: Iterable[Answer], shape: Columns) -> None:
    """Print a line per image as answers come; those with an error are left out."""
    stream = sys.stdout
    answered = (answer for answer in answers if not answer.error)
    is_first = True
    while rows := list(islice(answered, _ROWS)):
        table = _table(rows, shape, header=is_first)
        is_first = False
        if stream.isatty():
            out.print(table)  # above a progress bar
        else:
            with out.capture() as text:
                out.print(table)
            stream.write(text.get())


def _table(answers: Sequence[Answer], shape: Columns, *, header: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, show_header=header, pad_edge=False)
    table.add_column("image", width=shape.image, no_wrap=True)
    table.add_column("class", width=shape.name, overflow="fold")
    table.add_column("", width=7, justify="right", no_wrap=True)
    for title in filter(None, ("then, in %" if shape.then else "", shape.sets)):
        table.width = out.width
        table.add_column(title, ratio=1, overflow="fold")
    for answer in answers:
        best, *others = answer.classes
        name, share = _name(best), f"{_percent(best)} %"
        if answer.rejected:
            name, share, others = NONE_OF_THESE, "", list(answer.classes)
        cells = [shortened(answer.image, shape.image), name, share]
        if shape.then:
            cells.append(", ".join(f"{_name(one)} {_percent(one)}" for one in others))
        if shape.sets:
            cells.append(listing(answer.set or (), _NAMES) or "-")
        table.add_row(*cells)
    return table


def _name(one: RankedClass) -> str:
    return one.name if one.seen else one.name + _NEW


def _percent(one: RankedClass) -> str:
    return f"{100 * one.probability:.1f}"


def shortened(path: str, width: int) -> str:
    """Return the end of a path that fits into some columns, from a folder on where that is left."""
    if cell_len(path) <= width:
        return path
    end = len(path)
    while end and cell_len(path[end - 1 :]) < width:
        end -= 1
    tail = path[end:]
    folder = tail.find("/")
    return "…" + (tail[folder:] if folder >= 0 else tail)
