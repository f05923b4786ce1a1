"""Tables of cross-dataset evaluation and domain generalization."""

from __future__ import annotations

from ..load.published import published
from ..load.sections import FROZEN, Section, Series, series_of
from .compared import (
    Place,
    dataset_name,
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
from .grid import Cell, Column, Notes, Number, Row, Table, file_name, grouped, percent, scored

METRIC = "accuracy"


def transfer_tables(section: Section, slug: str) -> list[Table]:
    """All methods in the shape of print; then each beside its published figures."""
    beside = [_beside(section, series, slug) for series in section.series if series != FROZEN]
    return [_all(section, slug), *(table for table in beside if table)]


def _rows(section: Section, names: list[str]) -> list[Place]:
    """The source, the average over the targets that were tested, every target."""
    source = section.frame.source
    first = Place(f"{dataset_name(source)} (source)", (source,), "group")
    tested = [n for n in names if any(section.score(s, n, METRIC) for s in section.series)]
    average = [place for place in places(section, tested) if place.role == "average"]
    return [first, *average, *(Place(dataset_name(name), (name,)) for name in names)]


def _all(section: Section, slug: str) -> Table:
    """Data sets from left to right, a row per method, as in the paper's Tables 2 and 3."""
    notes = Notes()
    columns = _rows(section, list(section.datasets))
    rows = [
        Row(
            (
                section.label(series),
                "ours",
                *(marked(section, series, place, METRIC, notes) for place in columns),
            )
        )
        for series in section.series
    ]
    table, paper = section.frame.protocol, published()
    known = any(shown(section, name) for name in section.datasets)
    for method in paper.methods_of(table) if known else []:
        cells = [
            percent(paper.average(table, method, place.datasets, METRIC))
            if all(shown(section, name) for name in place.datasets)
            else None
            for place in columns
        ]
        rows.append(Row((paper.methods[method], paper.title, *cells), "published"))
    settings_notes(section, notes, section.series)
    reference_notes(section, notes, table, [paper] if known else [])
    if known and table == "domain-generalization":
        notes.add("The paper prints no average here; its row's average is computed from its row.")
    _missing_notes(section, notes)
    heads = (Column("method", text=True), Column("figures", text=True))
    labels = [place.label for place in columns]
    title = "All methods; the source, then data sets not trained on"
    return Table(slug, title, (*heads, *grouped("", labels)), tuple(rows), notes.all())


def _beside(section: Section, series: Series, slug: str) -> Table | None:
    table = section.frame.protocol
    refs = references(section, series, table)
    if not refs:
        return None
    notes, rows = Notes(), []
    for place in _rows(section, section.present(series, METRIC)):
        cells: list[Cell] = [
            place.label,
            marked(section, series, place, METRIC, notes),
            seeds_text(section, series, place, METRIC),
            scored(section.average(FROZEN, place.datasets, METRIC)),
            _beta(section, series, place),
        ]
        cells += reference_cells(section, series, refs, table, place, [METRIC])
        rows.append(Row(tuple(cells), place.role))
    settings_notes(section, notes, [series])
    reference_notes(section, notes, table, refs)
    _missing_notes(section, notes)
    columns = (
        Column("data set", text=True),
        *grouped("ours", ("accuracy", "seeds", "zero-shot", "beta")),
        *reference_columns(section, refs, [METRIC]),
    )
    title = f"{section.label(series)} beside the figures of others"
    return Table(
        f"{slug}-{file_name(section.label(series))}", title, columns, tuple(rows), notes.all()
    )


def _beta(section: Section, series: Series, place: Place) -> Number | None:
    """The share of fresh tokens at this target, where all runs used one."""
    if len(place.datasets) > 1:
        return None
    found = {
        run.targets[name].beta
        for run in section.runs
        for name in place.datasets
        if series_of(run) == series and name in run.targets
    }
    beta = found.pop() if len(found) == 1 else None
    return None if beta is None else Number(beta, "one")


def _missing_notes(section: Section, notes: Notes) -> None:
    for run in section.runs:
        for name, target in run.targets.items():
            if target.missing:
                notes.add(f"{dataset_name(name)} is missing: {target.missing}.")
