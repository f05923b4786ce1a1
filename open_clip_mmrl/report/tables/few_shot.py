"""Tables of few-shot learning: accuracy over the number of shots."""

from __future__ import annotations

from ..load.published import Reference, published
from ..load.sections import FROZEN, Section, Series
from .compared import (
    Place,
    averaged,
    comparable,
    marked,
    ours_minus,
    places,
    reference_notes,
    references,
    settings_notes,
    shown,
    subtracted,
)
from .grid import Cell, Column, Notes, Row, Table, percent

TABLE, METRIC = "few-shot", "accuracy"


def few_shot_tables(section: Section, slug: str) -> list[Table]:
    """Averages of all methods, and every data set with the methods below each other."""
    return [table for table in (_averages(section, slug), _all(section, slug)) if table]


def shots_of(section: Section) -> list[str]:
    """From few to many; where there are only frozen figures, print's."""
    return [point for point in section.points if point] or published().points_of(TABLE)


def _averages(section: Section, slug: str) -> Table | None:
    names = averaged(section, section.datasets)
    if len(names) < 2:
        return None
    notes, shots = Notes(), shots_of(section)
    place = Place("", tuple(names))
    rows = [
        Row((section.label(series), "ours", *_ours(section, series, place, shots, notes)))
        for series in section.series
    ]
    paper = published()
    known = all(shown(section, name) for name in names)
    for method in paper.methods_of(TABLE) if known else []:
        cells = [percent(paper.average(TABLE, method, names, METRIC, point)) for point in shots]
        rows.append(Row((paper.methods[method], paper.title, *cells), "published"))
    settings_notes(section, notes, section.series)
    reference_notes(section, notes, TABLE, [paper] if known else [])
    _partial_note(section, notes)
    return Table(
        f"{slug}-averages",
        f"Averages over {len(names)} data sets",
        (Column("method", text=True), Column("figures", text=True), *_shot_columns(shots)),
        tuple(rows),
        notes.all(),
    )


def _all(section: Section, slug: str) -> Table:
    """As the paper's Tables 10 and 11: data set, method, then shots from left to right."""
    notes, shots, rows = Notes(), shots_of(section), []
    used: dict[str, Reference] = {}
    for place in places(section, section.datasets):
        for i, series in enumerate(section.series):
            role = "group" if i == 0 else "plain"
            ours = _ours(section, series, place, shots, notes)
            rows.append(Row((place.label, section.label(series), "ours", *ours), role))
            for ref in references(section, series, TABLE):
                if not all(shown(section, name) for name in place.datasets):
                    continue
                used[ref.title] = ref
                theirs = [
                    ref.average(TABLE, series.method, place.datasets, METRIC, point)
                    for point in shots
                ]
                printed = map(percent, theirs)
                head = (place.label, section.label(series))
                rows.append(Row((*head, ref.title, *printed), "published"))
                if comparable(section):
                    minus = (
                        subtracted(section, series, place, METRIC, value, point)
                        for value, point in zip(theirs, shots, strict=True)
                    )
                    rows.append(Row((*head, ours_minus([ref]), *minus)))
    settings_notes(section, notes, section.series)
    reference_notes(section, notes, TABLE, list(used.values()))
    _partial_note(section, notes)
    heads = (Column(label, text=True) for label in ("data set", "method", "figures"))
    columns = (*heads, *_shot_columns(shots))
    return Table(slug, "All data sets", columns, tuple(rows), notes.all())


def _ours(
    section: Section, series: Series, place: Place, shots: list[str], notes: Notes
) -> list[Cell]:
    """Frozen CLIP has no shots; its one figure stands in the first column only."""
    cells: list[Cell] = [
        None
        if series == FROZEN and point != shots[0]
        else marked(section, series, place, METRIC, notes, point)
        for point in shots
    ]
    if series == FROZEN:
        notes.add("zero-shot CLIP uses no shots; its accuracy stands in the first column.")
    return cells


def _partial_note(section: Section, notes: Notes) -> None:
    """Said where not every figure is a mean over equally many seeds."""
    counts = {
        (section.label(series), len(seeds))
        for (series, *_, metric), seeds in section.values.items()
        if metric == METRIC and series != FROZEN
    }
    for label in dict.fromkeys(label for label, _ in sorted(counts)):
        found = sorted(count for name, count in counts if name == label)
        if len(found) > 1:
            notes.add(f"{label}: some figures are means of {found[0]} of {found[-1]} seeds only.")
        else:
            notes.add(f"{label}: means of {found[0]} seed{'s' if found[0] > 1 else ''}.")


def _shot_columns(shots: list[str]) -> tuple[Column, ...]:
    return tuple(Column(shot, "shots per class") for shot in shots)
