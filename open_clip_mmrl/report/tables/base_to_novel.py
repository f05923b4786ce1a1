"""Tables of base-to-novel generalization."""

from __future__ import annotations

from ..load.published import published, rerun
from ..load.run import METHODS, METRICS, Series
from ..load.sections import Section
from .builder import LABELS, TableBuilder
from .comparison import (
    DatasetGroup,
    dataset_groups,
    datasets_to_average,
    has_published,
)
from .table import Cell, Column, Number, Row, Table, grouped, percent, text_columns

TABLE = "base-to-novel"
HEADS = tuple(LABELS[metric] for metric in METRICS)


def base_to_novel_tables(section: Section, slug: str) -> list[Table]:
    """Return averages of all methods, all data sets, and each method next to published results."""
    compared = [_compared(section, series, slug) for series in section.series]
    tables = [_averages(section, slug), _ours(section, slug), *compared]
    return [table for table in tables if table]


def _averages(section: Section, slug: str) -> Table | None:
    """Return the paper's Table 1 (a): a row per method, ours and others'."""
    names = datasets_to_average(section, section.datasets)
    if len(names) < 2:
        return None
    build = TableBuilder(section, TABLE)
    rows, counts = [], set()
    for series in section.series:
        over = section.present(series, "base", among=names)
        if over:
            head = (section.label(series), "ours")
            count = Number(len(over), "count")
            seeds = build.seeds(series, over, "base")
            rows.append(Row((*head, *build.scores(series, over, METRICS), count, seeds)))
            counts.add(len(over))
    refs = [published(), rerun()] if has_published(section, names) else []
    for ref in refs:
        for method in ref.methods_of(TABLE):
            cells = [percent(ref.average(TABLE, method, names, m)) for m in METRICS]
            head = (ref.methods.get(method) or METHODS[method], ref.title)
            rows.append(Row((*head, *cells, Number(len(names), "count"), None), "published"))
            counts.add(len(names))
    if len(counts) > 1:
        build.note("Averages over different numbers of data sets do not compare.")
    build.note("HM: harmonic mean of the average base and the average novel accuracy.")
    columns = (*text_columns("method", "results"), *grouped("", (*HEADS, "data sets", "seeds")))
    title = "Averages of all methods"
    return build.build(f"{slug}-averages", title, columns, rows, section.series, refs)


def _ours(section: Section, slug: str) -> Table:
    """Return ours alone: a row per data set, a group of columns per method."""
    build = TableBuilder(section)
    rows = []
    for group in dataset_groups(section, section.datasets):
        cells = [
            build.score(series, group.datasets, m) for series in section.series for m in METRICS
        ]
        rows.append(Row((group.label, *cells), group.role))
    columns: list[Column] = [*text_columns("data set")]
    for series in section.series:
        columns += grouped(section.label(series), HEADS)
    title = "All data sets, our results"
    return build.build(f"{slug}-ours", title, columns, rows, section.series)


def _compared(section: Section, series: Series, slug: str) -> Table | None:
    """Return one method next to the published results and the rerun's."""
    build = TableBuilder(section, TABLE)
    rows: list[tuple[DatasetGroup, list[Cell]]] = []
    for group in dataset_groups(section, section.present(series, "base")):
        seeds = build.seeds(series, group.datasets, "base")
        rows.append((group, [*build.scores(series, group.datasets, METRICS), seeds]))
    return build.compared(series, slug, rows, (*HEADS, "seeds"), METRICS) if rows else None
