"""How far our figures lie from the published ones."""

from __future__ import annotations

from ..document import Picture
from ..load.sections import FROZEN, Section
from ..tables.compared import comparable, places, references
from ..tables.grid import MINUS
from .drawing import INK, legend_below, new_figure, plain, style_of

METRIC = {"base-to-novel": "hm"}


def difference_dots(section: Section, slug: str) -> Picture | None:
    """Ours minus published in points, a line per data set, a dot per method with its deviation.

    Only where runs and published figures compare; the published mean's own deviation is not known.
    """
    table = section.frame.protocol
    metric = METRIC.get(table, "accuracy")
    rows = [
        place
        for place in places(section, section.datasets)
        if all(section.splits.get(name) for name in place.datasets)
    ]
    compared = {
        series: refs[0]
        for series in section.series
        if series != FROZEN and (refs := references(section, series, table))
    }
    if not comparable(section) or not compared or not rows:
        return None
    step = min(0.24, 0.7 / len(compared))  # between the dots of a row
    figure = new_figure(7.4, max(0.34, 0.12 * len(compared)) * len(rows) + 1.3)
    axes = figure.add_subplot()
    plain(axes)
    for i, (series, ref) in enumerate(compared.items()):
        found = []
        for y, place in enumerate(rows):
            ours = section.average(series, place.datasets, metric)
            theirs = ref.average(table, series.method, place.datasets, metric)
            if ours and theirs is not None:
                shift = (i - (len(compared) - 1) / 2) * step
                found.append((ours.mean - theirs, y + shift, ours.std or 0))
        if found:
            x, y, deviations = zip(*found, strict=True)
            axes.errorbar(
                x,
                y,
                xerr=deviations,
                linestyle="none",
                capsize=2.5,
                label=f"{section.label(series)} {MINUS} {ref.title}",
                **style_of(section, series),
            )
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(rows)), [place.label for place in rows])
    for text, place in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if place.role == "average" else "normal")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    name = "HM" if metric == "hm" else "accuracy"
    axes.set_xlabel(f"difference of {name}, points")
    legend_below(figure, [axes])
    return Picture(
        f"{slug}-differences",
        "How far ours lie from the figures of others",
        f"Differences of {name} in points, means over seeds; bars are our standard deviations, "
        "those of the other figures are not known. A dot right of the line: ours is higher.",
        figure,
    )
