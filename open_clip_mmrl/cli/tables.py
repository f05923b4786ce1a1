"""Results as tables for the terminal."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from ..report.tables import table as report
from ..report.tables.methods import MethodRow
from ..utils.text import decimal

if TYPE_CHECKING:
    from ..evaluation.class_metrics import Confusions

_SCORES = ("percent", "difference")


def comparison_table(rows: Sequence[MethodRow]) -> Table:
    """Return base, novel, harmonic mean and cost, a line per method."""
    table = Table(
        title="Base-to-novel generalization, accuracy in %",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("method", no_wrap=True)
    columns = ("base", "novel", "HM", "trained\nparameters", "train\nms/image", "test\nms/image")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.method,
            decimal(row.base.mean, 1, row.base.std),
            decimal(row.novel.mean, 1, row.novel.std),
            decimal(row.hm.mean, 1),
            f"{row.parameters:,}",
            _milliseconds(row.train_ms),
            _milliseconds(row.eval_ms),
        )
    return table


def scores_table(title: str, scores: dict[str, dict[str, float]]) -> Table:
    """Return one line per model, one column per metric, in percent."""
    table = Table(title=title, title_justify="left", min_width=len(title), box=box.SIMPLE_HEAD)
    table.add_column("model")
    columns = list(next(iter(scores.values())))
    for name in columns:
        table.add_column("HM" if name == "hm" else name, justify="right")
    for model, metrics in scores.items():
        found = (metrics.get(name) for name in columns)
        table.add_row(model, *("-" if value is None else decimal(value) for value in found))
    return table


def confusions_line(found: Confusions) -> str:
    """Return the balanced accuracy and the three pairs of classes that are confused most."""
    images = {one.name: one.images for one in found.classes}
    pairs = (
        f"{pair.true} taken for {pair.predicted} ({pair.count} of {images[pair.true]})"
        for pair in found.pairs[:3]
    )
    most = f"; most confused: {', '.join(pairs)}" if found.pairs else ""
    return f"of the classes trained on: balanced accuracy {found.balanced_accuracy:.2f}{most}"


def calibration_line(found: Mapping[str, float | None], before: float) -> str:
    """Return what held-back images gave; see `RunResult.calibrated`."""
    line = (
        f"calibrated on {found['held_back']} images: calibration error {before:.1f} %, with "
        f"temperature {found['temperature']:.2f} {found['ece']:.1f} %"
    )
    if found["coverage"] is None:
        return f"{line}; too few images, or no MAPIE, for sets of classes"
    return (
        f"{line}; of sets made for {found['confidence_level']:g} %, {found['coverage']:.1f} % hold "
        f"the true class, with {found['set_size']:.2f} classes on average"
    )


def opening_table(found: report.Table) -> Table:
    """Return a report's first table without costs, and of its settings the uncommon ones only."""
    columns = [
        (column, [row.cells[i] for row in found.rows]) for i, column in enumerate(found.columns)
    ]
    settings = {c.label: cells for c, cells in columns if c.label.startswith("--")}
    usual = {label: Counter(cells).most_common(1)[0][0] for label, cells in settings.items()}
    others = " ".join(f"{label} {value}" for label, value in usual.items() if value)
    table = Table(
        title=found.title,
        title_justify="left",
        min_width=len(found.title),
        caption=f"Where not given: {others}" if others else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    shown: list[list[str]] = []
    for column, cells in columns:
        is_score = any(isinstance(c, report.Number) and c.kind in _SCORES for c in cells)
        if is_score or (column.text and column.label not in settings):
            head = f"{column.group} {column.label}".strip()
            table.add_column(head, justify="left" if column.text else "right")
            shown.append([report.cell_text(cell) for cell in cells])
    if settings:
        table.add_column("settings")
        rows = zip(*settings.values(), strict=True)
        shown.append([" ".join(_uncommon(row, usual)) for row in rows])
    for row in zip(*shown, strict=True):
        table.add_row(*row)
    return table


def _uncommon(cells: Sequence[report.Cell], usual: dict[str, report.Cell]) -> list[str]:
    pairs = zip(cells, usual.items(), strict=True)
    shown = ((label, report.cell_text(cell)) for cell, (label, value) in pairs if cell != value)
    return [f"{label} {shlex.quote(text)}" for label, text in shown]


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else decimal(value)
