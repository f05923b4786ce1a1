"""What leaving out a component changes: bars from the full method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..document import Picture
from ..load.published import AVERAGE, published
from ..load.run import METRICS, Series
from ..load.sections import Section
from ..tables.ablation import METHOD, complete_datasets
from ..tables.builder import LABELS
from ..tables.comparison import average_text, has_published
from .drawing import GRID, INK, METRIC_COLORS, at_least_a_point, legend_below, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FULL = {"variant": "full", "regularizer": "cosine"}
"""The value that is the method as it is meant."""


def change_bars(section: Section, series: Series, slug: str) -> Picture | None:
    """Draw base, novel and HM as differences to the full method, in points, a group per value."""
    sweep, over = section.setup.sweep, complete_datasets(section, series)
    full = FULL[sweep]
    values = [p for p in section.points if p != full and section.present(series, "hm", p)]
    if not over or not values or not section.average(series, over, "hm", full):
        return None
    figure = new_figure(max(1.25 * len(values) + 1.6, 4.6), 3.9)
    axes = figure.add_subplot()
    plain(axes)
    axes.grid(axis="x", visible=False)
    compared = series.method == METHOD and over == published().eleven
    compared = compared and has_published(section, over)
    for i, metric in enumerate(METRICS):
        places = [g + (i - 1) * 0.27 for g in range(len(values))]
        heights = [_change(section, series, over, metric, (value, full)) for value in values]
        style = {"color": METRIC_COLORS[metric], "edgecolor": METRIC_COLORS[metric]}  # 0: a line
        axes.bar(places, heights, 0.25, label=LABELS[metric], **style)
        if compared:
            theirs = [_published_change(sweep, metric, (value, full)) for value in values]
            _diamonds(axes, places, theirs, "published" if i == 2 else None)
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.margins(y=0.12)
    at_least_a_point(axes.yaxis)
    axes.set_xticks(range(len(values)), values)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(f"points against {'the full method' if full == 'full' else full}")
    axes.spines["bottom"].set_color(GRID)
    legend_below(figure, [axes])
    return Picture(
        f"{slug}-bars",
        f"{section.label(series)}: what changes against {full}",
        f"Differences of accuracies in points, {average_text(over)}, means over seeds.",
        figure,
    )


def _change(
    section: Section, series: Series, over: Sequence[str], metric: str, points: tuple[str, str]
) -> float:
    value, full = (section.average(series, over, metric, point) for point in points)
    return value.mean - full.mean if value and full else float("nan")


def _published_change(sweep: str, metric: str, points: tuple[str, str]) -> float | None:
    value, full = (published().value(sweep, METHOD, AVERAGE, metric, p) for p in points)
    return None if value is None or full is None else value - full


def _diamonds(
    axes: Axes, places: Sequence[float], values: Sequence[float | None], label: str | None
) -> None:
    found = [(x, y) for x, y in zip(places, values, strict=True) if y is not None]
    if found:
        axes.plot(
            [x for x, _ in found],
            [y for _, y in found],
            "D",
            label=label,
            markersize=5,
            markerfacecolor="white",
            markeredgecolor=INK,
        )
