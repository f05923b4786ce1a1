"""Tables as data: what a cell says, before it is Markdown, CSV or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..load.sections import Score

MINUS = "\N{MINUS SIGN}"
DIGITS = {"percent": 2, "difference": 2, "one": 1, "count": 0, "three": 3}
Kind = Literal["percent", "difference", "one", "count", "three"]
Role = Literal["plain", "average", "published", "group"]


@dataclass(frozen=True)
class Number:
    """A figure in a table."""

    value: float
    kind: Kind = "percent"
    std: float | None = None
    seeds: int | None = None
    marks: str = ""
    """Signs that the table's notes explain."""


Cell = Number | str | None


@dataclass(frozen=True)
class Column:
    """A heading; neighbours with one `group` share a heading above theirs."""

    label: str
    group: str = ""
    text: bool = False
    """Whether it holds words, which tell rows apart, and not figures."""


@dataclass(frozen=True)
class Row:
    cells: tuple[Cell, ...]
    role: Role = "plain"


@dataclass(frozen=True)
class Table:
    """A table with what has to be said about it.

    Attributes:
        name: the name of its CSV file, unique in a report.
        notes: footnotes, in whole sentences.
        folded: long; HTML shows it on demand, Markdown leaves it to the CSV file.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    folded: bool = False


@dataclass
class Notes:
    """Footnotes of one table, each once, in order of first use."""

    texts: dict[str, None] = field(default_factory=dict)

    def add(self, text: str, mark: str = "") -> str:
        """Remember a note; returns its mark, to put behind a figure."""
        self.texts[f"{mark} {text}".strip()] = None
        return mark

    def all(self) -> tuple[str, ...]:
        return tuple(self.texts)


def file_name(text: str) -> str:
    """Of what may hold anything: letters, figures and single dashes, "p" for "+"."""
    kept = (c if c.isalnum() else "-" for c in text.lower().replace("+", "p"))
    return "-".join(part for part in "".join(kept).split("-") if part)


def scored(score: Score | None, marks: str = "") -> Number | None:
    return None if score is None else Number(score.mean, "percent", score.std, score.seeds, marks)


def percent(value: float | None) -> Number | None:
    return None if value is None else Number(value)


def difference(ours: Score | None, theirs: float | None) -> Number | None:
    """Ours - theirs, in points; from the figures as printed, so that the table adds up."""
    if ours is None or theirs is None:
        return None
    points = round(round(ours.mean, 2) - round(theirs, 2), 2)
    return Number(points + 0.0, "difference")  # + 0.0: no "-0.00"


def cell_text(cell: Cell) -> str:
    """What a reader sees: "85.68 ±0.21", "+0.12", "-"."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    sign = "+" if cell.kind == "difference" else ""
    text = f"{cell.value:{sign},.{DIGITS[cell.kind]}f}".replace("-", MINUS)
    std = "" if cell.std is None else f" ±{cell.std:.{DIGITS[cell.kind]}f}"
    return text + std + cell.marks


def grouped(group: str, labels: Sequence[str]) -> tuple[Column, ...]:
    return tuple(Column(label, group) for label in labels)
