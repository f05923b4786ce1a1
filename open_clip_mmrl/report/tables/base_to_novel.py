"""Tables of base-to-novel generalisation."""

from __future__ import annotations

from ..load.published import published, rerun
from ..load.sections import METHODS, Section, Series
from .compared import (
    LABELS,
    Place,
    averaged,
    marked,
    places,
    reference_cells,
    reference_columns,
    reference_notes,
    references,
    seeds_text,
    settings_notes,
    shown,
)
from .grid import Column, Notes, Number, Row, Table, file_name, grouped, percent

TABLE = "base-to-novel"
METRICS = ("base", "novel", "hm")
_HEADS = tuple(LABELS[metric] for metric in METRICS)


def base_to_novel_tables(section: Section, slug: str) -> list[Table]:
    """Averages of all methods; all data sets; every method beside the figures of others."""
    beside = [_beside(section, series, slug) for series in section.series]
    tables = [_averages(section, slug), _all(section, slug), *beside]
    return [table for table in tables if table and table.rows]


def _averages(section: Section, slug: str) -> Table | None:
    """The paper's Table 1 (a): a row per method, ours and others'."""
    names = averaged(section, section.datasets)
    if len(names) < 2:
        return None
    notes, rows = Notes(), []
    for series in section.series:
        over = tuple(section.present(series, "base", among=names))
        if not over:
            continue
        place = Place("", over)
        cells = [marked(section, series, place, metric, notes) for metric in METRICS]
        count = Number(len(over), "count")
        seeds = seeds_text(section, series, place, "base")
        rows.append(Row((section.label(series), "ours", *cells, count, seeds)))
    others = [published(), rerun()] if all(shown(section, name) for name in names) else []
    for ref in others:
        for method in ref.methods_of(TABLE):
            cells = [percent(ref.average(TABLE, method, names, m)) for m in METRICS]
            name = ref.methods.get(method) or METHODS[method]
            count = Number(len(names), "count")
            rows.append(Row((name, ref.title, *cells, count, None), "published"))
    counts = {row.cells[5].value for row in rows}
    if len(counts) > 1:
        notes.add("Averages over different numbers of data sets do not compare.")
    settings_notes(section, notes, section.series)
    reference_notes(section, notes, TABLE, others)
    notes.add("HM: harmonic mean of the average base and the average novel accuracy.")
    columns = (
        Column("method", text=True),
        Column("figures", text=True),
        *grouped("", (*_HEADS, "data sets", "seeds")),
    )
    return Table(f"{slug}-averages", "Averages of all methods", columns, tuple(rows), notes.all())


def _all(section: Section, slug: str) -> Table:
    """Ours alone: a row per data set, a group of columns per method."""
    notes = Notes()
    rows = tuple(
        Row(
            (
                place.label,
                *(
                    marked(section, series, place, metric, notes)
                    for series in section.series
                    for metric in METRICS
                ),
            ),
            place.role,
        )
        for place in places(section, section.datasets)
    )
    settings_notes(section, notes, section.series)
    columns = [Column("data set", text=True)]
    for series in section.series:
        columns += grouped(section.label(series), _HEADS)
    return Table(f"{slug}-ours", "All data sets, our figures", tuple(columns), rows, notes.all())


def _beside(section: Section, series: Series, slug: str) -> Table | None:
    """One method of ours beside the published figures and the rerun's."""
    refs = references(section, series, TABLE)
    names = section.present(series, "base")
    if not refs or not names:
        return None
    notes, rows = Notes(), []
    for place in places(section, names):
        ours = [marked(section, series, place, metric, notes) for metric in METRICS]
        seeds = seeds_text(section, series, place, "base")
        theirs = reference_cells(section, series, refs, TABLE, place, METRICS)
        rows.append(Row((place.label, *ours, seeds, *theirs), place.role))
    settings_notes(section, notes, [series])
    reference_notes(section, notes, TABLE, refs)
    columns = (
        Column("data set", text=True),
        *grouped("ours", (*_HEADS, "seeds")),
        *reference_columns(section, refs, METRICS),
    )
    title = f"{section.label(series)} beside the figures of others"
    return Table(
        f"{slug}-{file_name(section.label(series))}", title, columns, tuple(rows), notes.all()
    )
