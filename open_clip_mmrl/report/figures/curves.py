"""Accuracy over what is varied: shots, or a setting."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..document import Picture
from ..load.published import AVERAGE, Reference, published
from ..load.run import FROZEN, METRICS, Series
from ..load.sections import Score, Section
from ..tables.ablation import METHOD, NAMES, complete_datasets
from ..tables.builder import LABELS
from ..tables.comparison import (
    average_text,
    comparable,
    dataset_groups,
    dataset_name,
    has_published,
    published_value,
    reference_label,
    references_for,
)
from ..tables.few_shot import METRIC, TABLE, shots_of
from .drawing import (
    at_least_a_point,
    legend_below,
    outer_labels,
    panel_title,
    panels,
    published_style,
    style_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Published = Sequence[tuple[Reference, Sequence[float | None]]]
"""Lines of published results."""


def few_shot_curves(section: Section, slug: str) -> Picture | None:
    """Draw a panel for the average and every data set, with lines of all methods."""
    shots = shots_of(section)
    if len(shots) < 2:
        return None
    groups = dataset_groups(section, section.datasets)
    figure, axes = panels(len(groups))
    for one, group in zip(axes, groups, strict=True):
        for series in section.series:
            _few_shot_curve(one, section, series, group.datasets, shots)
        panel_title(one, group.label, group.role == "average")
        _ticks(one, shots)
    outer_labels(axes, y="accuracy, %")
    legend_below(figure, axes)
    return Picture(
        f"{slug}-curves",
        "Accuracy over the number of shots",
        "Shots per class from left to right, accuracy in %, means over seeds; bars are standard "
        "deviations. Dashed and hollow: published.",
        figure,
    )


def _few_shot_curve(
    axes: Axes, section: Section, series: Series, names: Sequence[str], shots: Sequence[str]
) -> None:
    scores = [section.average(series, names, METRIC, point) for point in shots]
    if series != FROZEN:
        lines = []
        for ref in references_for(section, series, TABLE):
            found = (section, ref, TABLE, series.method, names, METRIC)
            lines.append((ref, [published_value(*found, point) for point in shots]))
        _curve(axes, section, series, scores, lines)
    elif scores[0]:
        style = {"color": style_of(section, series)["color"], "label": section.label(series)}
        axes.axhline(scores[0].mean, linestyle=":", linewidth=1.6, **style)


def sweep_curves(section: Section, series: Series, slug: str) -> Picture | None:
    """Draw base, novel and HM over one setting: a panel each, averaged over data sets."""
    over = complete_datasets(section, series)
    points = [point for point in section.points if section.present(series, "base", point)]
    if not over or len(points) < 2:
        return None
    sweep, paper = section.setup.sweep, published()
    table, dataset = (sweep, AVERAGE) if len(over) > 1 else (f"{sweep}-{over[0]}", over[0])
    compared = series.method == METHOD and has_published(section, over)
    compared = compared and (len(over) == 1 or over == paper.eleven)
    figure, axes = panels(len(METRICS), columns=3, width=3.1, height=2.7)
    for one, metric in zip(axes, METRICS, strict=True):
        theirs = [paper.value(table, METHOD, dataset, metric, p) for p in points]
        scores = [section.average(series, over, metric, point) for point in points]
        _curve(one, section, series, scores, [(paper, theirs)] if compared else [])
        one.set_title(LABELS[metric])
        one.set_xlabel(NAMES[sweep])
        _ticks(one, points)
    axes[0].set_ylabel("accuracy, %")
    legend_below(figure, axes)
    return Picture(
        f"{slug}-curves",
        f"{section.label(series)}: accuracy over {NAMES[sweep]}, {average_text(over)}",
        "Accuracy in %, means over seeds; bars are standard deviations of the seeds' averages. "
        "Values are at equal distances. The panels' scales differ.",
        figure,
    )


def sweep_each(section: Section, series: Series, slug: str) -> Picture | None:
    """Draw HM over one setting, a panel per data set."""
    points = section.points
    names = [n for n in section.datasets if any(section.score(series, n, "hm", p) for p in points)]
    if len(names) < 2 or len(points) < 2:
        return None
    sweep, paper = section.setup.sweep, published()
    figure, axes = panels(len(names))
    for one, name in zip(axes, names, strict=True):
        compared = has_published(section, [name]) and series.method == METHOD
        theirs = [paper.value(sweep, METHOD, name, "hm", point) for point in points]
        scores = [section.score(series, name, "hm", point) for point in points]
        _curve(one, section, series, scores, [(paper, theirs)] if compared else [])
        panel_title(one, dataset_name(name))
        _ticks(one, points)
    outer_labels(axes, y="HM, %")
    legend_below(figure, axes)
    context = "" if comparable(section) else " Published lines, where there are any, are context."
    return Picture(
        f"{slug}-each",
        f"{section.label(series)}: HM over {NAMES[sweep]}, every data set",
        "Harmonic mean in %, means over seeds; bars are standard deviations. Values are at equal "
        f"distances. The panels' scales differ.{context}",
        figure,
    )


def _curve(
    axes: Axes, section: Section, series: Series, scores: Sequence[Score | None], lines: Published
) -> None:
    """Draw published results, then ours with error bars; points without a score are left out."""
    for ref, values in lines:
        there = [(i, value) for i, value in enumerate(values) if value is not None]
        if there:
            style, label = published_style(series), reference_label(series, ref)
            axes.plot([i for i, _ in there], [value for _, value in there], label=label, **style)
    found = [(i, score) for i, score in enumerate(scores) if score]
    if found:
        axes.errorbar(
            [i for i, _ in found],
            [score.mean for _, score in found],
            [score.std or 0 for _, score in found],
            label=section.label(series),
            linewidth=1.8,
            elinewidth=1,
            capsize=2,
            **style_of(section, series),
        )


def _ticks(axes: Axes, points: Sequence[str]) -> None:
    at_least_a_point(axes.yaxis)
    axes.set_xticks(range(len(points)), points)
    axes.set_xlim(-0.3, len(points) - 0.7)
    width = 72 * axes.bbox.width / 100  # about, in points of 1/72 inch, at 100 pixels per inch
    widest = max((len(a + b) / 2 for a, b in pairwise(points)), default=0)
    if 5.8 * widest + 4 > width / (len(points) - 0.4):
        axes.tick_params(axis="x", labelsize=8, rotation=90)
