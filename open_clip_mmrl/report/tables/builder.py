"""Build one table of a section: its cells, and the footnotes that they need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..load.published import Reference
from ..load.run import FROZEN, Series
from ..load.sections import Section
from .comparison import DatasetGroup, comparable, ours_minus, paper_split, published_value
from .footnotes import (
    IMAGENET_NAMES,
    OTHER_SPLIT,
    SCATTER,
    Notes,
    precision_note,
    scatter_note,
    settings_note,
    source_notes,
)
from .table import Cell, Column, Number, Row, Table, difference, grouped, percent

LABELS = {"base": "base", "novel": "novel", "hm": "HM", "accuracy": "accuracy"}


class TableBuilder:
    """Cells of one table, and its footnotes.

    Args:
        section: the runs.
        table: name of the published table in published.json; "" where there is none.
    """

    def __init__(self, section: Section, table: str = "") -> None:
        self.section = section
        self.table = table
        self.notes = Notes()
        self.remarks = Notes()

    def score(
        self, series: Series, group: DatasetGroup, metric: str, point: str = ""
    ) -> Number | None:
        """Return our score, with the marks of what its reader has to know."""
        score = self.section.average(series, group.datasets, metric, point)
        if score is None:
            return None
        marks = ""
        if metric == "novel" and score.std is not None and score.std >= SCATTER:
            marks += self.notes.add(scatter_note(group), "†")
        if any(self.section.splits.get(name) is False for name in group.datasets):
            marks += self.notes.add(OTHER_SPLIT, "‡")
        return Number(score.mean, "percent", score.std, score.seeds, marks)

    def scores(
        self, series: Series, group: DatasetGroup, metrics: Iterable[str], point: str = ""
    ) -> list[Cell]:
        """Return our scores by several metrics."""
        return [self.score(series, group, metric, point) for metric in metrics]

    def seeds(
        self, series: Series, group: DatasetGroup, metric: str, point: str = ""
    ) -> str | None:
        """Return "3", or "2 of 3" where some seeds are missing; None for what has no seeds."""
        score = self.section.average(series, group.datasets, metric, point)
        if score is None or series == FROZEN:
            return None
        full = self.section.seeds(series)
        return str(full) if score.seeds == full else f"{score.seeds} of {full}"

    def published(
        self, ref: Reference, method: str, group: DatasetGroup, metric: str, point: str = ""
    ) -> Number | None:
        """Return a published result."""
        found = (self.section, ref, self.table, method, group.datasets, metric, point)
        return percent(published_value(*found))

    def difference(
        self,
        series: Series,
        group: DatasetGroup,
        metric: str,
        theirs: Number | None,
        point: str = "",
    ) -> Number | None:
        """Return ours - theirs in points; None where conditions or images are not the paper's."""
        section = self.section
        if theirs is None or not comparable(section) or not paper_split(section, group.datasets):
            return None
        if "imagenet" in group.datasets and metric in ("novel", "hm"):
            self.remarks.add(IMAGENET_NAMES)
        return difference(section.average(series, group.datasets, metric, point), theirs.value)

    def comparison(
        self,
        series: Series,
        refs: Sequence[Reference],
        group: DatasetGroup,
        metrics: Sequence[str],
    ) -> list[Cell]:
        """Return the cells below `comparison_columns`."""
        theirs = [[self.published(r, series.method, group, m) for m in metrics] for r in refs]
        cells: list[Cell] = [cell for row in theirs for cell in row]
        if refs and comparable(self.section):
            pairs = zip(metrics, theirs[0], strict=True)
            cells += [self.difference(series, group, metric, first) for metric, first in pairs]
        return cells

    def comparison_columns(
        self, refs: Sequence[Reference], metrics: Sequence[str]
    ) -> tuple[Column, ...]:
        """Return a group of columns for each source, and one for the difference to the first."""
        titles = [ref.title for ref in refs]
        if refs and comparable(self.section):
            titles.append(ours_minus(refs[0]))
        return tuple(c for title in titles for c in grouped(title, [LABELS[m] for m in metrics]))

    def build(
        self,
        name: str,
        title: str,
        columns: Iterable[Column],
        rows: Iterable[Row],
        series: Iterable[Series],
        refs: Sequence[Reference] = (),
    ) -> Table:
        """Return the table, with notes on these methods' settings and on the sources."""
        for note in (*map(settings_note, series), *source_notes(self.section, self.table, refs)):
            if note:
                self.notes.add(note)
        if refs and comparable(self.section):
            self.remarks.add(precision_note(self.section))
        return Table(name, title, tuple(columns), tuple(rows), self.notes.all(), self.remarks.all())
