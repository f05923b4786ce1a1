"""Tables of ablations: one setting varied, everything else kept."""

from __future__ import annotations

from collections.abc import Sequence

from ..load.arrange import point_rank
from ..load.published import AVERAGE, published
from ..load.run import METRICS, Series
from ..load.sections import Section
from .base_to_novel import HEADS
from .builder import TableBuilder
from .comparison import (
    average_text,
    comparable,
    dataset_groups,
    dataset_name,
    datasets_to_average,
    has_published,
    ours_minus,
)
from .table import Cell, Row, Table, file_name, grouped, percent, text_columns

NAMES = {
    "variant": "variant",
    "rep_dim": "d_r",
    "start_layer": "J",
    "num_rep_tokens": "K",
    "alpha": "alpha",
    "reg_weight": "lambda",
    "regularizer": "regularizer",
}
"""What is varied, as the paper writes it."""
METHOD = "mmrl"
"""The published ablations are all of MMRL."""
ON_IMAGENET = "reg_weight-imagenet"
"""Published table of the sweep of lambda on ImageNet (Table 5, right)."""


def ablation_tables(section: Section, slug: str) -> list[Table]:
    """Return, for every method, averages next to published ones, then HM of every data set."""
    tables: list[Table] = []
    for series in section.series:
        own = series_slug(section, series, slug)
        tables.append(_averages(section, series, own))
        if section.setup.sweep == "reg_weight" and section.present(
            series, "base", section.points[0], ["imagenet"]
        ):
            build = TableBuilder(section, ON_IMAGENET)
            names = ["imagenet"]
            tables.append(_by_point(build, series, f"{own}-imagenet", names, "imagenet", True))
        if len(section.datasets) > 1:
            tables.append(_each(section, series, f"{own}-each"))
    return tables


def series_slug(section: Section, series: Series, slug: str) -> str:
    """Return a name for files on one method; the section's own where it has one method only."""
    return slug if len(section.series) == 1 else f"{slug}-{file_name(section.label(series))}"


def complete_datasets(section: Section, series: Series) -> list[str]:
    """Return the data sets that every point of ours was run on, so that averages compare."""
    points = [p for p in section.points if section.present(series, "base", p)]
    return [
        name
        for name in datasets_to_average(section, section.datasets) or section.datasets
        if all(section.score(series, name, "base", point) for point in points)
    ]


def _averages(section: Section, series: Series, name: str) -> Table:
    over = complete_datasets(section, series) or list(section.datasets[:1])
    sweep = section.setup.sweep
    build = TableBuilder(section, sweep)
    # Published averages are over all eleven data sets; with fewer of ours nothing is subtracted.
    full = over == published().eleven
    if len(over) < len(section.datasets):
        missing = ", ".join(dataset_name(n) for n in section.datasets if n not in over)
        build.note(f"Not in the average, because some values have no run there: {missing}.")
    if not full and comparable(section) and AVERAGE in published().datasets_of(sweep):
        build.note("published: averages over all 11 data sets, so no differences are given.")
    return _by_point(build, series, name, over, AVERAGE, full)


def _by_point(
    build: TableBuilder,
    series: Series,
    name: str,
    over: Sequence[str],
    published_dataset: str,
    subtract: bool,
) -> Table:
    """Return a row per point: ours over data sets, and the paper's where it has this sweep.

    `published_dataset` is `AVERAGE` or a data set; with `subtract` it is over the same as ours.
    """
    section, paper, table = build.section, published(), build.table
    compared = series.method == METHOD and has_published(section, over)
    refs = [paper] if compared and published_dataset in paper.datasets_of(table) else []
    groups = [("ours", (*HEADS, "seeds")), *((ref.title, HEADS) for ref in refs)]
    if refs and subtract and comparable(section):
        groups.append((ours_minus(paper), HEADS))
    rows = []
    for point in _all_points(section, table) if refs else section.points:
        cells: list[Cell] = [
            *build.scores(series, over, METRICS, point),
            build.seeds(series, over, "base", point),
        ]
        if refs:
            at = (table, METHOD, published_dataset)
            theirs = [percent(paper.value(*at, metric, point)) for metric in METRICS]
            cells += theirs
            if len(groups) > 2:
                pairs = zip(METRICS, theirs, strict=True)
                cells += [build.difference(series, over, m, t, point) for m, t in pairs]
        rows.append(Row((point, *cells)))
    if refs and table == "rep_dim":
        build.note("published: EuroSAT keeps d_r = 2048 in every row.")
    sweep = NAMES[section.setup.sweep]
    columns = [*text_columns(sweep), *(c for group in groups for c in grouped(*group))]
    title = f"{section.label(series)}: {sweep}, {average_text(over)}"
    return build.build(name, title, columns, rows, [series], refs)


def _each(section: Section, series: Series, name: str) -> Table:
    """Return HM of every data set at every value, next to published ones (lambda has them)."""
    sweep, paper = section.setup.sweep, published()
    build = TableBuilder(section, sweep)
    groups = dataset_groups(section, section.datasets)
    known = paper.datasets_of(sweep) if series.method == METHOD else []
    compared = any(n in known and has_published(section, [n]) for n in section.datasets)
    refs = [paper] if compared else []
    rows: list[Row] = []
    for point in _all_points(section, sweep) if refs else section.points:
        columns = [(group.datasets, point) for group in groups]
        rows += build.compared_rows([point], series, columns, "hm", refs)
    heads = (*text_columns(NAMES[sweep], "results"), *grouped("", [g.label for g in groups]))
    title = f"{section.label(series)}: {NAMES[sweep]}, HM of every data set"
    return build.build(name, title, heads, rows, [series], refs)


def _all_points(section: Section, table: str) -> list[str]:
    """Return our points and, where there are data sets of the paper, the published ones."""
    if not any(has_published(section, [name]) for name in section.datasets):
        return list(section.points)
    found = published().points_of(table)
    return sorted({*section.points, *found}, key=lambda point: point_rank(point, found))
