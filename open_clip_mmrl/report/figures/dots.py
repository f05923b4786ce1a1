"""How far our results are from the published ones."""

from __future__ import annotations

from ..document import Picture
from ..load.run import FROZEN
from ..load.sections import Section
from ..tables.builder import LABELS
from ..tables.comparison import (
    comparable,
    dataset_groups,
    ours_minus,
    paper_split,
    references_for,
)
from .drawing import INK, legend_below, new_figure, plain, shortened, style_of


def difference_dots(section: Section, slug: str) -> Picture | None:
    """Draw ours minus published in points: a line per data set, a dot per method.

    Only where runs and published results compare. Bars are our deviations, for those of the
    published means are not known.
    """
    table = section.setup.protocol
    metric = "hm" if table == "base-to-novel" else "accuracy"
    groups = [
        group
        for group in dataset_groups(section, section.datasets)
        if paper_split(section, group.datasets)
    ]
    compared = {
        series: refs[0]
        for series in section.series
        if series != FROZEN and (refs := references_for(section, series, table))
    }
    if not comparable(section) or not compared or not groups:
        return None
    step = min(0.24, 0.7 / len(compared))  # between the dots of a row
    figure = new_figure(7.4, max(0.34, 0.12 * len(compared)) * len(groups) + 1.3)
    axes = figure.add_subplot()
    plain(axes)
    for i, (series, ref) in enumerate(compared.items()):
        shift = (i - (len(compared) - 1) / 2) * step
        x, y, deviations = [], [], []
        for row, group in enumerate(groups):
            ours = section.average(series, group.datasets, metric)
            theirs = ref.average(table, series.method, group.datasets, metric)
            if ours and theirs is not None:
                x.append(ours.mean - theirs)
                y.append(row + shift)
                deviations.append(ours.std or 0)
        if x:
            axes.errorbar(
                x,
                y,
                xerr=deviations,
                linestyle="none",
                capsize=2.5,
                label=ours_minus(ref).replace("ours", section.label(series)),
                **style_of(section, series),
            )
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(groups)), [shortened(group.label, 44) for group in groups])
    for text, group in zip(axes.get_yticklabels(), groups, strict=True):
        text.set_fontweight("bold" if group.role == "average" else "normal")
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"difference of {LABELS[metric]}, points")
    legend_below(figure, [axes])
    return Picture(
        f"{slug}-differences",
        "How far ours are from published results",
        f"Differences of {LABELS[metric]} in points, means over seeds; bars are our standard "
        "deviations, those of the published results are not known. A dot right of the line: ours "
        "is higher.",
        figure,
    )
