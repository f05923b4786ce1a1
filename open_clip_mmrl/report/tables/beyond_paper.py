"""Tables that the paper does not have: generalized zero-shot accuracy and confidence."""

from __future__ import annotations

from ...utils.text import counted
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
_CALIBRATED = {
    "calibrated_ece": "ECE",
    "calibrated_coverage": "coverage",
    "calibrated_set_size": "classes per set",
}
_UNKNOWN = {"unknown_auroc": "AUROC", "unknown_fpr95": "FPR95"}
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
        "feature (with --calibrate all by both, less what the mean of the held-back images "
        "scores); HM: their harmonic mean.",
    )
    calibration = _scores(
        section,
        f"{slug}-calibration",
        "Calibration: expected calibration error",
        _ECE,
        "Percent, 15 bins of confidence; 0 is perfect, so lower is better.",
    )
    calibrated = _scores(
        section,
        f"{slug}-calibrated",
        "Calibrated on images held back from training: temperature and sets of classes",
        _CALIBRATED,
        "Test images of the classes trained on. ECE: calibration error with the temperature; "
        "coverage: sets that hold the true class, 90 % being aimed at.",
    )
    unknown = _scores(
        section,
        f"{slug}-unknown",
        "Known or unknown: novel classes told from base classes",
        _UNKNOWN,
        "By the maximum softmax of the cosines with the base classes. FPR95: images of novel "
        "classes that are accepted where 95 % of those of base classes are; lower is better.",
    )
    found = [table for table in (generalized, calibration, calibrated, unknown) if table]
    return [*found, *class_tables(section, slug)]


def _scores(
    section: Section, name: str, title: str, metrics: dict[str, str], explanation: str
) -> Table | None:
    """Return a row per data set, a group of columns per method that has any of the metrics."""
    point = section.points[-1] if section.points else ""  # few-shot runs: those with most shots
    columns = [(s, m) for s in section.series for m in metrics if section.present(s, m, point)]
    if not columns:
        return None
    build = TableBuilder(section)
    build.note(explanation)
    present = {
        name for series, metric in columns for name in section.present(series, metric, point)
    }
    rows = []
    for group in dataset_groups(section, [n for n in section.datasets if n in present]):
        cells = [build.score(series, group.datasets, metric, point) for series, metric in columns]
        rows.append(Row((group.label, *cells), group.role))
    if section.setup.protocol == "few-shot" and point:
        build.note(f"With {counted(point, 'shot')}, the most there are.")
    heads: list[Column] = [*text_columns("data set")]
    for series, metric in columns:
        heads += grouped(section.label(series), [metrics[metric]])
    return build.build(name, title, heads, rows, dict.fromkeys(series for series, _ in columns))
