"""A table as data, before it is Markdown, CSV or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...utils.text import decimal
from ..load.sections import Score

DIGITS = {"percent": 2, "difference": 2, "one": 1, "count": 0, "three": 3}
Kind = Literal["percent", "difference", "one", "count", "three"]
Role = Literal["plain", "average", "published", "group"]


@dataclass(frozen=True)
class Number:
    """A number in a table."""

    value: float
    kind: Kind = "percent"
    std: float | None = None
    seeds: int | None = None
    marks: str = ""
    """Signs that the table's notes explain."""


Cell = Number | str | None


@dataclass(frozen=True)
class Column:
    """A heading; neighbors with one `group` share a heading above theirs."""

    label: str
    group: str = ""
    text: bool = False
    """Whether it holds words, by which rows differ, and not numbers."""


@dataclass(frozen=True)
class Row:
    """The cells of a row, and how it is set."""

    cells: tuple[Cell, ...]
    role: Role = "plain"


@dataclass(frozen=True)
class Table:
    """A table with its footnotes.

    Attributes:
        name: the name of its CSV file, unique in a report.
        notes: footnotes, in whole sentences; each is given once in a report. One that explains
            a mark of numbers begins with it and a space.
        folded: long; HTML shows it on demand, Markdown leaves it to the CSV file.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    folded: bool = False


def file_name(text: str) -> str:
    """Return any text as a file name: letters, digits and single dashes, "p" for "+"."""
    kept = (c if c.isalnum() else "-" for c in text.lower().replace("+", "p"))
    return "-".join(part for part in "".join(kept).split("-") if part)


def score_cell(score: Score | None) -> Number | None:
    """Return the cell of a score over seeds."""
    return None if score is None else Number(score.mean, "percent", score.std, score.seeds)


def percent(value: float | None) -> Number | None:
    """Return the cell of a percentage."""
    return None if value is None else Number(value)


def cell_text(cell: Cell) -> str:
    """Return what a reader sees: "85.68 ±0.21", "+0.12", "-"."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    return decimal(cell.value, DIGITS[cell.kind], cell.std, cell.kind == "difference") + cell.marks


def text_columns(*labels: str) -> tuple[Column, ...]:
    """Return columns of words."""
    return tuple(Column(label, text=True) for label in labels)


def grouped(group: str, labels: Sequence[str]) -> tuple[Column, ...]:
    """Return columns of numbers below one heading."""
    return tuple(Column(label, group) for label in labels)
