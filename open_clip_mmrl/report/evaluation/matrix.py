"""The confusion matrix: whole where it can be read, else of the most confused classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from ...evaluation.class_metrics import Confusions

MAX_CLASSES = 50
"""Of a whole matrix."""
CONFUSED_CLASSES = 30
"""Of a matrix that leaves classes out."""
OTHERS = "other classes"


@dataclass(frozen=True)
class MatrixCell:
    """Images of one class with one answer."""

    true: str
    predicted: str
    count: int
    share: float
    """Of the true class's images, 0 to 1."""


@dataclass(frozen=True)
class MatrixRow:
    """The answers to one class's images."""

    name: str
    images: int
    cells: tuple[MatrixCell, ...]


@dataclass(frozen=True)
class Matrix:
    """A row for each true class, a column for each answer."""

    columns: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    left_out: int
    """Classes that have no row; answers that name them are counted in the last column."""


def confusion_matrix(found: Confusions) -> Matrix:
    """Return the matrix of all classes, or of the classes of the most frequent confusions."""
    names = [one.name for one in found.classes]
    whole = len(names) <= MAX_CLASSES
    if not whole:  # classes that are confused with one another are neighbors
        confused = dict.fromkeys(chain.from_iterable((p.true, p.predicted) for p in found.pairs))
        names = list(confused)[:CONFUSED_CLASSES]
    columns = (*names, *([] if whole else [OTHERS]))
    by_name = {one.name: one for one in found.classes}
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    for pair in found.pairs:
        if pair.true in counts:
            predicted = pair.predicted if pair.predicted in counts else OTHERS
            counts[pair.true][predicted] += pair.count
    for name in names:
        counts[name][name] = by_name[name].images - counts[name].total()
    rows = tuple(
        MatrixRow(
            name,
            by_name[name].images,
            tuple(_cells(name, by_name[name].images, columns, counts[name])),
        )
        for name in names
    )
    return Matrix(columns, rows, len(found.classes) - len(names))


def _cells(
    name: str, images: int, columns: tuple[str, ...], counts: Counter[str]
) -> Iterator[MatrixCell]:
    for column in columns:
        yield MatrixCell(name, column, counts[column], counts[column] / images if images else 0.0)
