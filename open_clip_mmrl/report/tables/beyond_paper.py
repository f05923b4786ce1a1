"""Tables that the paper does not have: generalized zero-shot accuracy and calibration."""

from __future__ import annotations

from ..load.run import FROZEN, Series
from ..load.sections import Section
from .builder import TableBuilder
from .classes import class_tables
from .comparison import dataset_groups
from .table import Column, Row, Table, grouped, text_columns

_GENERALIZED = {
    "generalized_seen": "seen",
    "generalized_unseen": "unseen",
    "generalized_hm": "HM",
}
_ECE = {"ece_base": "base", "ece_novel": "novel", "ece_accuracy": "all classes"}


def beyond_paper_tables(section: Section, slug: str) -> list[Table]:
    """Return those tables, and those of single classes, that there are results for."""
    generalized = _scores(
        section,
        f"{slug}-generalized",
        "Generalized zero-shot (GZSL) accuracy: base and novel classes in one classifier",
        _GENERALIZED,
        "seen, unseen: accuracy on images of base and of novel classes, with all classes in one "
        "classifier, by logits: base classes by both features mixed, novel ones by the class "
        "feature; HM: their harmonic mean.",
    )
    calibration = _scores(
        section,
        f"{slug}-calibration",
        "Calibration: expected calibration error",
        _ECE,
        "Percent, 15 bins of confidence; 0 is perfect, so lower is better.",
    )
    found = [table for table in (generalized, calibration) if table]
    return [*found, *class_tables(section, slug)]


def most_shots(section: Section, series: Series) -> str:
    """Return the point with most shots of few-shot runs; elsewhere there is one point."""
    return "" if series == FROZEN or not section.points else section.points[-1]


def _scores(
    section: Section, name: str, title: str, metrics: dict[str, str], explanation: str
) -> Table | None:
    """Return a row per data set, a group of columns per method that has any of the metrics."""
    build = TableBuilder(section)
    build.note(explanation)
    columns = [
        (series, metric, most_shots(section, series))
        for series in section.series
        for metric in metrics
        if section.present(series, metric, most_shots(section, series))
    ]
    if not columns:
        return None
    names = [
        name
        for name in section.datasets
        if any(section.score(series, name, metric, point) for series, metric, point in columns)
    ]
    rows = [
        Row(
            (group.label, *(build.score(s, group, m, point) for s, m, point in columns)), group.role
        )
        for group in dataset_groups(section, names)
    ]
    if section.setup.protocol == "few-shot" and section.points:
        build.note(f"With {section.points[-1]} shots, the most there are.")
    heads: list[Column] = [*text_columns("data set")]
    for series, metric, _ in columns:
        heads += grouped(section.label(series), [metrics[metric]])
    series_shown = dict.fromkeys(series for series, *_ in columns)
    return build.build(name, title, heads, rows, series_shown)
