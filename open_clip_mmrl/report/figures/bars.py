"""What leaving a part out changes: bars from the full method."""

from __future__ import annotations

from ..document import Picture
from ..load.published import AVERAGE, published
from ..load.sections import Section, Series
from ..tables.ablation import METRICS, everywhere
from ..tables.compared import LABELS, dataset_name, shown
from .drawing import GRID, INK, METRIC_COLOURS, legend_below, new_figure, plain

WHOLE = {"variant": "full", "regularizer": "cosine"}
"""The value that is the method as it is meant."""


def change_bars(section: Section, series: Series, slug: str) -> Picture | None:
    """Difference of base, novel and HM to the full method, in points, a group per value."""
    sweep, over = section.frame.sweep, everywhere(section, series)
    whole = WHOLE[sweep]
    values = [p for p in section.points if p != whole and section.present(series, "hm", p)]
    if not over or not values or not section.average(series, over, "hm", whole):
        return None
    figure = new_figure(max(1.25 * len(values) + 1.6, 4.6), 3.9)
    axes = figure.add_subplot()
    plain(axes)
    axes.grid(axis="x", visible=False)
    printed = over == published().eleven and all(shown(section, name) for name in over)
    for i, metric in enumerate(METRICS):
        places = [g + (i - 1) * 0.27 for g in range(len(values))]
        heights = [_change(section, series, over, metric, value, whole) for value in values]
        colour = METRIC_COLOURS[metric]
        axes.bar(places, heights, 0.25, color=colour, label=LABELS[metric])
        if printed and series.method == "mmrl":
            theirs = [_published_change(sweep, metric, value, whole) for value in values]
            found = [(x, y) for x, y in zip(places, theirs, strict=True) if y is not None]
            if found:
                label = "published" if i == 2 else None
                axes.plot(
                    *zip(*found, strict=True),
                    "D",
                    label=label,
                    markersize=5,
                    markerfacecolor="white",
                    markeredgecolor=INK,
                )
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.margins(y=0.12)
    axes.set_xticks(range(len(values)), values)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(f"points against {'the full method' if whole == 'full' else whole}")
    axes.spines["bottom"].set_color(GRID)
    legend_below(figure, [axes])
    what = dataset_name(over[0]) if len(over) == 1 else f"averages over {len(over)} data sets"
    return Picture(
        f"{slug}-bars",
        f"{section.label(series)}: what changes against {whole}",
        f"Differences of accuracies in points, {what}, means over seeds.",
        figure,
    )


def _change(section: Section, series: Series, over, metric: str, value: str, whole: str) -> float:
    scores = [section.average(series, over, metric, point) for point in (value, whole)]
    return scores[0].mean - scores[1].mean


def _published_change(sweep: str, metric: str, value: str, whole: str) -> float | None:
    paper = published()
    pair = [paper.value(sweep, "mmrl", AVERAGE, metric, point) for point in (value, whole)]
    return None if None in pair else pair[0] - pair[1]
