"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from .report import Row


def comparison_table(rows: Sequence[Row]) -> Table:
    """Base, novel, harmonic mean and cost, a line per method."""
    table = Table(title="Base-to-novel generalisation, accuracy in %", title_justify="left")
    table.add_column("method", no_wrap=True)
    columns = ("base", "novel", "HM", "trained\nparameters", "train\nms/image", "test\nms/image")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.method,
            _with_std(row.base, row.base_std, row.seeds),
            _with_std(row.novel, row.novel_std, row.seeds),
            f"{row.hm:.1f}",
            f"{row.parameters:,}",
            _milliseconds(row.train_ms),
            _milliseconds(row.eval_ms),
        )
    return table


def scores_table(title: str, scores: dict[str, dict[str, float]]) -> Table:
    """One line per model, one column per metric, in percent."""
    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column("model")
    columns = list(next(iter(scores.values())))
    for name in columns:
        table.add_column("HM" if name == "hm" else name, justify="right")
    for model, metrics in scores.items():
        table.add_row(model, *(f"{metrics[name]:.2f}" for name in columns))
    return table


def _with_std(value: float, std: float, seeds: int) -> str:
    return f"{value:.1f} ±{std:.1f}" if seeds > 1 else f"{value:.1f}"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
