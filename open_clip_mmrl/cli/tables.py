"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from ..report.tables.methods import MethodRow
from ..utils.text import decimal


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
        table.add_row(model, *(decimal(metrics[name]) for name in columns))
    return table


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else decimal(value)
