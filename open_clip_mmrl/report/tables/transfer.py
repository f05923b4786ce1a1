"""Tables of cross-dataset evaluation and domain generalization."""

from __future__ import annotations

from collections.abc import Sequence

from ..load.published import published
from ..load.run import FROZEN, Series
from ..load.sections import Section
from .builder import TableBuilder
from .comparison import (
    DatasetGroup,
    dataset_groups,
    dataset_name,
    has_published,
)
from .table import Cell, Number, Row, Table, grouped, score_cell, text_columns

METRIC = "accuracy"


def transfer_tables(section: Section, slug: str) -> list[Table]:
    """Return all methods in the paper's layout; then each next to its published results."""
    compared = [_compared(section, series, slug) for series in section.series if series != FROZEN]
    return [_all(section, slug), *(table for table in compared if table)]


def _groups(section: Section, names: Sequence[str]) -> list[DatasetGroup]:
    """Return the source, the average over the targets that were tested, every target."""
    source = section.setup.source
    first = DatasetGroup(f"{dataset_name(source)} (source)", (source,), "group")
    tested = [n for n in names if any(section.score(s, n, METRIC) for s in section.series)]
    average = [group for group in dataset_groups(section, tested) if group.role == "average"]
    return [first, *average, *(DatasetGroup(dataset_name(name), (name,)) for name in names)]


def _all(section: Section, slug: str) -> Table:
    """Return data sets from left to right, a row per method, as the paper's Tables 2 and 3."""
    table, paper = section.setup.protocol, published()
    build = TableBuilder(section, table)
    groups = _groups(section, section.datasets)
    rows = [
        Row(
            (
                section.label(series),
                "ours",
                *(build.score(series, g.datasets, METRIC) for g in groups),
            )
        )
        for series in section.series
    ]
    refs = [paper] if any(has_published(section, [name]) for name in section.datasets) else []
    for method in paper.methods_of(table) if refs else []:
        cells = [build.published(paper, method, group.datasets, METRIC) for group in groups]
        rows.append(Row((paper.methods[method], paper.title, *cells), "published"))
    if refs and table == "domain-generalization":
        build.note("The paper has no average here; it is computed from the paper's row.")
    _missing_notes(build)
    columns = (*text_columns("method", "results"), *grouped("", [g.label for g in groups]))
    title = "All methods; the source, then data sets not trained on"
    return build.build(slug, title, columns, rows, section.series, refs)


def _compared(section: Section, series: Series, slug: str) -> Table | None:
    """Return one method next to published results, with frozen CLIP and beta."""
    build = TableBuilder(section, section.setup.protocol)
    rows: list[tuple[DatasetGroup, list[Cell]]] = []
    for group in _groups(section, section.present(series, METRIC)):
        cells: list[Cell] = [
            build.score(series, group.datasets, METRIC),
            build.seeds(series, group.datasets, METRIC),
            score_cell(section.average(FROZEN, group.datasets, METRIC)),
            _beta(section, series, group),
        ]
        rows.append((group, cells))
    _missing_notes(build)
    heads = ("accuracy", "seeds", "zero-shot", "beta")
    return build.compared(series, slug, rows, heads, [METRIC])


def _beta(section: Section, series: Series, group: DatasetGroup) -> Number | None:
    """Return beta, the weight of this layer's tokens, at one target, where all runs have one."""
    if len(group.datasets) > 1:
        return None
    (name,) = group.datasets
    targets = (run.result.targets.get(name) for run in section.runs if run.series == series)
    found = {target.beta for target in targets if target}
    beta = found.pop() if len(found) == 1 else None
    return None if beta is None else Number(beta, "one")


def _missing_notes(build: TableBuilder) -> None:
    for run in build.section.runs:
        for name, target in run.result.targets.items():
            if target.missing:
                build.note(f"{dataset_name(name)} is missing: {target.missing}.")
