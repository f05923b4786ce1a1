"""Tables of ablations: one setting varied, everything else kept."""

from __future__ import annotations

from collections.abc import Sequence

from ..load.arrange import point_rank
from ..load.published import AVERAGE, published
from ..load.sections import Section, Series
from .compared import (
    LABELS,
    Place,
    averaged,
    comparable,
    dataset_name,
    marked,
    ours_minus,
    places,
    reference_notes,
    settings_notes,
    shown,
    subtracted,
)
from .grid import Cell, Column, Notes, Row, Table, file_name, grouped, percent

METRICS = ("base", "novel", "hm")
NAMES = {
    "variant": "variant",
    "rep_dim": "d_r",
    "start_layer": "J",
    "num_rep_tokens": "K",
    "alpha": "alpha",
    "reg_weight": "lambda",
    "regularizer": "regulariser",
}
"""What is varied, as the paper writes it."""

_HEADS = tuple(LABELS[metric] for metric in METRICS)
ON_IMAGENET = "reg_weight-imagenet"
"""The published sweep of lambda is printed for ImageNet, not as an average."""


def ablation_tables(section: Section, slug: str) -> list[Table]:
    """For every method: averages beside the published ones, then HM of every data set."""
    tables: list[Table] = []
    for series in section.series:
        own = slug if len(section.series) == 1 else f"{slug}-{file_name(section.label(series))}"
        tables.append(_averages(section, series, own))
        if section.frame.sweep == "reg_weight" and section.present(
            series, "base", section.points[0], ["imagenet"]
        ):
            tables.append(_on_imagenet(section, series, f"{own}-imagenet"))
        if len(section.datasets) > 1:
            tables.append(_each(section, series, f"{own}-each"))
    return tables


def points_beside(section: Section, table: str) -> list[str]:
    """Our points and, for the paper's data sets, the published ones."""
    ours = [point for point in section.points if point]
    if not any(shown(section, name) for name in section.datasets):
        return ours
    printed = published().points_of(table)
    return sorted({*ours, *printed}, key=lambda point: point_rank(point, printed))


def everywhere(section: Section, series: Series) -> list[str]:
    """The data sets that every point of ours was run on, so that averages compare."""
    points = [p for p in section.points if section.present(series, "base", p)]
    return [
        name
        for name in averaged(section, section.datasets)
        if all(section.score(series, name, "base", point) for point in points)
    ]


def _averages(section: Section, series: Series, name: str) -> Table:
    over = everywhere(section, series) or list(section.datasets[:1])
    table = section.frame.sweep
    averages = Place("", tuple(over), "average")
    notes = Notes()
    # Published averages go over all eleven data sets; with fewer of ours nothing is subtracted.
    full = over == published().eleven
    rows = _rows(section, series, averages, table, AVERAGE, full, notes)
    if table == "rep_dim" and len(rows[0].cells) > 5:
        notes.add("published: EuroSAT keeps d_r = 2048 in every row.")
    what = dataset_name(over[0]) if len(over) == 1 else f"average over {len(over)} data sets"
    if len(over) < len(section.datasets):
        left = ", ".join(dataset_name(n) for n in section.datasets if n not in over)
        notes.add(f"Not among those averaged, for some values have no run there: {left}.")
    if not full and comparable(section) and AVERAGE in _printed(table):
        notes.add("published: averages over all 11 data sets, so no differences are given.")
    title = f"{section.label(series)}: {NAMES[table]}, {what}"
    return _table(section, series, name, title, rows, table, notes)


def _on_imagenet(section: Section, series: Series, name: str) -> Table:
    """The paper's Table 5, right."""
    notes, place = Notes(), Place("", ("imagenet",))
    rows = _rows(section, series, place, ON_IMAGENET, "imagenet", True, notes)
    title = f"{section.label(series)}: lambda, ImageNet"
    return _table(section, series, name, title, rows, ON_IMAGENET, notes)


def _printed(table: str) -> set[str]:
    return {key[3] for key in published().figures if key[0] == table}


def _rows(
    section: Section,
    series: Series,
    place: Place,
    table: str,
    printed_for: str,
    subtract: bool,
    notes: Notes,
) -> list[Row]:
    """A row per point: ours, and where print has this sweep, its figures and the difference."""
    beside = (
        series.method == "mmrl"
        and printed_for in _printed(table)
        and all(shown(section, n) for n in place.datasets)
    )
    rows = []
    for point in points_beside(section, table) if beside else section.points:
        cells: list[Cell] = [point]
        cells += [marked(section, series, place, m, notes, point) for m in METRICS]
        score = section.average(series, place.datasets, "base", point)
        full = section.seeds(series)
        partial = score and score.seeds < full
        cells.append(score and (f"{score.seeds} of {full}" if partial else str(full)))
        if beside:
            theirs = [published().value(table, "mmrl", printed_for, m, point) for m in METRICS]
            cells += map(percent, theirs)
            if comparable(section) and subtract:
                pairs = zip(METRICS, theirs, strict=True)
                cells += [subtracted(section, series, place, m, t, point) for m, t in pairs]
        rows.append(Row(tuple(cells)))
    return rows


def _table(
    section: Section,
    series: Series,
    name: str,
    title: str,
    rows: Sequence[Row],
    table: str,
    notes: Notes,
) -> Table:
    paper = published()
    columns = [Column(NAMES[section.frame.sweep], text=True), *grouped("ours", (*_HEADS, "seeds"))]
    groups = [paper.title, ours_minus([paper])]
    for i in range((len(rows[0].cells) - len(columns)) // len(METRICS)):
        columns += grouped(groups[i], _HEADS)
    settings_notes(section, notes, [series])
    reference_notes(section, notes, table, [paper] if len(columns) > 5 else [])
    return Table(name, title, tuple(columns), tuple(rows), notes.all())


def _each(section: Section, series: Series, name: str) -> Table:
    """HM of every data set at every value; beside it print's where print has it (lambda)."""
    table, paper, notes = section.frame.sweep, published(), Notes()
    columns = places(section, section.datasets)
    printed = _printed(table) if series.method == "mmrl" else set()
    names = [n for n in section.datasets if shown(section, n) and n in printed]
    rows = []
    for point in points_beside(section, table) if names else section.points:
        ours = [marked(section, series, place, "hm", notes, point) for place in columns]
        rows.append(Row((point, "ours", *ours), "group"))
        if not names:
            continue
        theirs = [
            paper.average(table, "mmrl", place.datasets, "hm", point)
            if set(place.datasets) <= set(names) and len(place.datasets) == 1
            else None
            for place in columns
        ]
        rows.append(Row((point, paper.title, *map(percent, theirs)), "published"))
        if comparable(section):
            pairs = zip(columns, theirs, strict=True)
            minus = (subtracted(section, series, place, "hm", t, point) for place, t in pairs)
            rows.append(Row((point, ours_minus([paper]), *minus)))
    settings_notes(section, notes, [series])
    reference_notes(section, notes, table, [paper] if names else [])
    heads = (Column(NAMES[table], text=True), Column("figures", text=True))
    labels = grouped("", [place.label for place in columns])
    title = f"{section.label(series)}: {NAMES[table]}, HM of every data set"
    return Table(name, title, (*heads, *labels), tuple(rows), notes.all())
