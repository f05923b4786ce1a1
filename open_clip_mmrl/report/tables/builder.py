"""Build one table of a section: its cells, and the footnotes that they need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..load.published import Reference
from ..load.run import FROZEN, Series
from ..load.sections import Section
from .comparison import (
    DatasetGroup,
    comparable,
    difference,
    ours_minus,
    published_value,
    references_for,
)
from .footnotes import (
    EUROSAT_SCATTERS,
    OTHER_SPLIT,
    SCATTER,
    SCATTERS,
    precision_note,
    renamed_classes_note,
    settings_note,
    sides_note,
    source_notes,
)
from .table import (
    Cell,
    Column,
    Number,
    Row,
    Table,
    file_name,
    grouped,
    percent,
    text_columns,
)

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
        self._notes: dict[str, None] = {}  # each once, in order of first use

    def note(self, text: str, mark: str = "") -> str:
        """Add a footnote; return its mark, to put after a number."""
        self._notes[f"{mark} {text}".strip()] = None
        return mark

    def score(
        self, series: Series, datasets: Sequence[str], metric: str, point: str = ""
    ) -> Number | None:
        """Return our score, with the marks of what its reader has to know."""
        score = self.section.average(series, datasets, metric, point)
        if score is None:
            return None
        marks = ""
        if metric == "novel" and score.std is not None and score.std >= SCATTER:
            marks += self.note(SCATTERS, "†")
            if list(datasets) == ["eurosat"]:
                self.note(EUROSAT_SCATTERS)
        if any(self.section.splits.get(name) is False for name in datasets):
            marks += self.note(OTHER_SPLIT, "‡")
        return Number(score.mean, "percent", score.std, score.seeds, marks)

    def scores(
        self, series: Series, datasets: Sequence[str], metrics: Iterable[str], point: str = ""
    ) -> list[Cell]:
        """Return our scores by several metrics."""
        return [self.score(series, datasets, metric, point) for metric in metrics]

    def seeds(
        self, series: Series, datasets: Sequence[str], metric: str, point: str = ""
    ) -> str | None:
        """Return "3", or "2 of 3" where some seeds are missing; None for what has no seeds."""
        score = self.section.average(series, datasets, metric, point)
        if score is None or series == FROZEN:
            return None
        full = self.section.seeds(series)
        return str(full) if score.seeds == full else f"{score.seeds} of {full}"

    def published(
        self, ref: Reference, method: str, datasets: Sequence[str], metric: str, point: str = ""
    ) -> Number | None:
        """Return a published result."""
        found = (self.section, ref, self.table, method, datasets, metric, point)
        return percent(published_value(*found))

    def difference(
        self,
        series: Series,
        datasets: Sequence[str],
        metric: str,
        theirs: Number | None,
        point: str = "",
    ) -> Number | None:
        """Return ours - theirs in points; None where they do not compare."""
        points = difference(self.section, series, datasets, metric, theirs, point)
        if points and (note := renamed_classes_note(datasets)):
            self.note(note)
        return points

    def compared_rows(
        self,
        head: Sequence[str],
        series: Series,
        columns: Sequence[tuple[Sequence[str], str]],
        metric: str,
        refs: Sequence[Reference],
        first: bool = True,
    ) -> list[Row]:
        """Return a row of ours on these data sets at these points, then two for each source.

        `head` is what all rows begin with; a line is drawn above the `first` rows of a group.
        """
        ours = (self.score(series, names, metric, point) for names, point in columns)
        rows = [Row((*head, "ours", *ours), "group" if first else "plain")]
        for ref in refs:
            theirs = [self.published(ref, series.method, n, metric, p) for n, p in columns]
            rows.append(Row((*head, ref.title, *theirs), "published"))
            if comparable(self.section):
                found = zip(columns, theirs, strict=True)
                minus = (self.difference(series, n, metric, value, p) for (n, p), value in found)
                rows.append(Row((*head, ours_minus(ref), *minus)))
        return rows

    def compared(
        self,
        series: Series,
        slug: str,
        rows: Iterable[tuple[DatasetGroup, Sequence[Cell]]],
        heads: Sequence[str],
        metrics: Sequence[str],
    ) -> Table | None:
        """Return a method next to published results, after our cells; None where there are none."""
        refs = references_for(self.section, series, self.table)
        if not refs:
            return None
        titles = [ref.title for ref in refs]
        if comparable(self.section):
            titles.append(ours_minus(refs[0]))
        found = []
        for group, ours in rows:
            at = [(group.datasets, metric) for metric in metrics]
            theirs = [[self.published(ref, series.method, *a) for a in at] for ref in refs]
            cells: list[Cell] = [*ours, *(cell for row in theirs for cell in row)]
            if comparable(self.section):
                pairs = zip(at, theirs[0], strict=True)
                cells += [self.difference(series, *a, first) for a, first in pairs]
            found.append(Row((group.label, *cells), group.role))
        labels = [LABELS[metric] for metric in metrics]
        columns = [*text_columns("data set"), *grouped("ours", heads)]
        for title in titles:
            columns += grouped(title, labels)
        label = self.section.label(series)
        title = f"{label} compared with published results"
        return self.build(f"{slug}-{file_name(label)}", title, columns, found, [series], refs)

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
        series = list(series)
        sides = [sides_note(self.section, each) for each in series]
        sources = source_notes(self.section, self.table, refs)
        for note in (*map(settings_note, series), *sides, *sources):
            if note:
                self.note(note)
        if refs and comparable(self.section):
            self.note(precision_note(self.section))
        return Table(name, title, tuple(columns), tuple(rows), tuple(self._notes))
