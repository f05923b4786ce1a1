"""Paired differences: what another method or other settings would have given with the same draws.

Runs of one seed share their training images. Their difference scatters less over seeds than either
score, so its interval says whether one is better; the methods' own deviations do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev

from ...config import VARIANTS
from ...utils.text import counted, decimal
from ..load.run import Series, metrics_of
from ..load.sections import Section
from .builder import LABELS
from .comparison import DatasetGroup, dataset_name
from .table import Cell, Column, Number, Row, Table, grouped, text_columns

LEVEL = 0.95
INTERVAL = (
    "Mean over seeds of the difference in points, and its 95 % interval (Student's t, runs of one "
    "seed paired); * where that excludes 0. It holds for these data sets and test images: it tells "
    "what other draws of training images change, and nothing of other data sets. With many "
    "comparisons, one in twenty of equals gets a *."
)


def interval(differences: Sequence[float]) -> str | None:
    """Return "+1.20 (+0.40 to +2.00) *": mean and 95 % interval; None of fewer than two.

    Example:
        >>> interval([1.0, 1.5, 1.2])
        '+1.23 (+0.61 to +1.86) *'
    """
    if len(differences) < 2:
        return None
    from scipy.special import stdtrit  # half a second, which other reports need not take

    middle = mean(differences)
    quantile = float(stdtrit(len(differences) - 1, (1 + LEVEL) / 2))
    half = quantile * stdev(differences) / math.sqrt(len(differences))
    low, high = middle - half, middle + half
    words = (decimal(value, 2, signed=True) for value in (middle, low, high))
    return "{} ({} to {})".format(*words) + " *" * (low * high > 0)


def paired_tables(section: Section, slug: str) -> list[Table]:
    """Return MMRL's and MMRL++'s differences to all others: averages, then every data set."""
    single = [DatasetGroup(dataset_name(name), (name,)) for name in section.datasets]
    tables = []
    if len(single) > 1:
        average = DatasetGroup(f"average over {len(single)}", section.datasets)
        tables.append(_table(section, [average], f"{slug}-paired-average", "averages"))
    tables.append(_table(section, single, f"{slug}-paired", "every data set", len(single) > 1))
    return [table for table in tables if table]


def _table(
    section: Section, groups: Sequence[DatasetGroup], name: str, what: str, folded: bool = False
) -> Table | None:
    columns = _columns(section)
    rows = []
    for group in groups:
        for ours, other in _pairs(section.series):
            found = [
                section.differences(ours, other, group.datasets, metric, point)
                for _, metric, point in columns
            ]
            cells: list[Cell] = [interval(one) for one in found]
            if any(cells):
                seeds = Number(max(map(len, found)), "count")
                head = (group.label, section.label(ours), section.label(other))
                rows.append(Row((*head, *cells, seeds)))
    heads: tuple[Column, ...] = (
        *text_columns("data set", "method", "minus"),
        *grouped("", [label for label, _, _ in columns]),
        Column("seeds"),
    )
    title = f"Paired differences in points: {what}"
    return Table(name, title, heads, tuple(rows), (INTERVAL,), folded) if rows else None


def _columns(section: Section) -> list[tuple[str, str, str]]:
    """Return heading, metric and point of every column."""
    if section.setup.protocol == "few-shot":
        return [(counted(shots, "shot"), "accuracy", shots) for shots in section.points]
    columns = [(LABELS[metric], metric, "") for metric in metrics_of(section.setup.protocol)]
    if any(section.present(series, "generalized_hm") for series in section.series):
        columns.append(("generalized HM", "generalized_hm", ""))
    return columns


def _pairs(series: Sequence[Series]) -> list[tuple[Series, Series]]:
    """Return each of our methods with all others; two of ours once."""
    ours = [one for one in series if one.method in VARIANTS]
    others = [one for one in series if one not in ours]
    pairs = [(one, other) for one in ours for other in others]
    return pairs + [(b, a) for i, b in enumerate(ours) for a in ours[:i]]
