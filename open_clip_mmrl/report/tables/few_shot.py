"""Tables of few-shot learning: accuracy over the number of shots."""

from __future__ import annotations

from collections.abc import Sequence

from ..load.published import Reference, published
from ..load.run import FROZEN, Series
from ..load.sections import Section
from .builder import TableBuilder
from .comparison import (
    dataset_groups,
    datasets_to_average,
    has_published,
    references_for,
)
from .table import Cell, Row, Table, grouped, percent, text_columns

TABLE, METRIC = "few-shot", "accuracy"


def few_shot_tables(section: Section, slug: str) -> list[Table]:
    """Return averages of all methods, and every data set with the methods below each other."""
    return [table for table in (_averages(section, slug), _all(section, slug)) if table]


def shots_of(section: Section) -> list[str]:
    """Return the shots from few to many; where only frozen CLIP was run, the paper's."""
    return list(section.points) or published().points_of(TABLE)


def _averages(section: Section, slug: str) -> Table | None:
    names = datasets_to_average(section, section.datasets)
    if len(names) < 2:
        return None
    build, shots = TableBuilder(section, TABLE), shots_of(section)
    rows = [
        Row((section.label(series), "ours", *_ours(build, series, names, shots)))
        for series in section.series
    ]
    paper = published()
    refs = [paper] if has_published(section, names) else []
    for method in paper.methods_of(TABLE) if refs else []:
        cells = [percent(paper.average(TABLE, method, names, METRIC, point)) for point in shots]
        rows.append(Row((paper.methods[method], paper.title, *cells), "published"))
    _seed_notes(build)
    columns = (*text_columns("method", "results"), *grouped("shots per class", shots))
    title = f"Averages over {len(names)} data sets"
    return build.build(f"{slug}-averages", title, columns, rows, section.series, refs)


def _all(section: Section, slug: str) -> Table:
    """Return the paper's Tables 10 and 11: data set, method, then shots from left to right."""
    build, shots = TableBuilder(section, TABLE), shots_of(section)
    rows: list[Row] = []
    used: dict[str, Reference] = {}
    for group in dataset_groups(section, section.datasets):
        known = has_published(section, group.datasets)
        for series in section.series:
            refs = references_for(section, series, TABLE) if known else []
            used |= {ref.title: ref for ref in refs}
            head, first = (group.label, section.label(series)), series == section.series[0]
            if series == FROZEN:
                cells = _ours(build, series, group.datasets, shots)
                rows.append(Row((*head, "ours", *cells), "group" if first else "plain"))
            else:
                columns = [(group.datasets, point) for point in shots]
                rows += build.compared_rows(head, series, columns, METRIC, refs, first)
    _seed_notes(build)
    heads = (*text_columns("data set", "method", "results"), *grouped("shots per class", shots))
    return build.build(slug, "All data sets", heads, rows, section.series, list(used.values()))


def _ours(
    build: TableBuilder, series: Series, datasets: Sequence[str], shots: Sequence[str]
) -> list[Cell]:
    """Return our scores; frozen CLIP has no shots, so its score is in the first column only."""
    if series == FROZEN:
        build.note("frozen CLIP uses no shots; its accuracy is in the first column.")
        return [build.score(series, datasets, METRIC), *[None] * (len(shots) - 1)]
    return [build.score(series, datasets, METRIC, point) for point in shots]


def _seed_notes(build: TableBuilder) -> None:
    """Note how many seeds the means are over."""
    counts: dict[str, set[int]] = {}
    for key, seeds in build.section.values.items():
        if key.metric == METRIC and key.series != FROZEN:
            counts.setdefault(build.section.label(key.series), set()).add(len(seeds))
    for label, found in sorted(counts.items()):
        least, most = min(found), max(found)
        if least < most:
            build.note(f"{label}: some results are means of {least} of {most} seeds only.")
        else:
            build.note(f"{label}: means of {most} seed{'s' if most > 1 else ''}.")
