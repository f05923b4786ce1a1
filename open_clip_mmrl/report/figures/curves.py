"""Accuracy over what is varied: shots, or a setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..document import Picture
from ..load.published import AVERAGE, published
from ..load.sections import FROZEN, Section, Series
from ..tables.ablation import METRICS, NAMES, everywhere
from ..tables.compared import (
    LABELS,
    Place,
    comparable,
    dataset_name,
    places,
    reference_label,
    references,
    shown,
)
from ..tables.few_shot import METRIC, TABLE, shots_of
from .drawing import legend_below, panels, published_style, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def few_shot_curves(section: Section, slug: str) -> Picture | None:
    """A panel for the average and every data set; lines of all methods."""
    shots = shots_of(section)
    if len(shots) < 2:
        return None
    rows = places(section, section.datasets)
    figure, axes = panels(len(rows))
    for one, place in zip(axes, rows, strict=True):
        _few_shot_panel(section, one, place, shots)
    for one in axes[:: min(4, len(axes))]:
        one.set_ylabel("accuracy, %")
    legend_below(figure, axes)
    return Picture(
        f"{slug}-curves",
        "Accuracy over the number of shots",
        "Shots per class from left to right, accuracy in %, means over seeds; bars are standard "
        "deviations. Dashed and hollow: published.",
        figure,
    )


def _few_shot_panel(section: Section, axes: Axes, place: Place, shots: Sequence[str]) -> None:
    for series in section.series:
        label = section.label(series)
        if series == FROZEN:
            score = section.average(series, place.datasets, METRIC)
            if score:
                colour = style_of(section, series)["color"]
                axes.axhline(score.mean, color=colour, linestyle=":", linewidth=1.6, label=label)
            continue
        for ref in references(section, series, TABLE):
            if all(shown(section, name) for name in place.datasets):
                theirs = [
                    ref.average(TABLE, series.method, place.datasets, METRIC, point)
                    for point in shots
                ]
                _line(axes, theirs, reference_label(series, ref), published_style(series))
        scores = [section.average(series, place.datasets, METRIC, point) for point in shots]
        _scores(axes, scores, label, style_of(section, series))
    axes.set_title(place.label, fontweight="bold" if place.role == "average" else "normal")
    _ticks(axes, shots)


def sweep_curves(section: Section, series: Series, slug: str) -> Picture | None:
    """Base, novel and HM over one setting: a panel each, averaged over data sets."""
    over = everywhere(section, series)
    points = [point for point in section.points if section.present(series, "base", point)]
    if not over or len(points) < 2:
        return None
    sweep = section.frame.sweep
    single = AVERAGE if len(over) > 1 else over[0]
    table = sweep if single == AVERAGE else f"{sweep}-{single}"
    beside = all(shown(section, name) for name in over) and series.method == "mmrl"
    beside = beside and (len(over) == 1 or over == published().eleven)
    figure, axes = panels(len(METRICS), columns=3, width=3.1, height=2.7)
    for one, metric in zip(axes, METRICS, strict=True):
        theirs = [published().value(table, "mmrl", single, metric, p) for p in points]
        if beside and any(theirs):
            _line(one, theirs, reference_label(series, published()), published_style(series))
        scores = [section.average(series, over, metric, point) for point in points]
        _scores(one, scores, section.label(series), style_of(section, series))
        one.set_title(LABELS[metric])
        one.set_xlabel(NAMES[sweep])
        _ticks(one, points)
    axes[0].set_ylabel("accuracy, %")
    legend_below(figure, axes)
    what = dataset_name(over[0]) if len(over) == 1 else f"average over {len(over)} data sets"
    return Picture(
        f"{slug}-curves",
        f"{section.label(series)}: accuracy over {NAMES[sweep]}, {what}",
        "Accuracy in %, means over seeds; bars are standard deviations of the seeds' averages. "
        "Values stand at equal distances. The panels' scales differ.",
        figure,
    )


def sweep_each(section: Section, series: Series, slug: str) -> Picture | None:
    """HM over one setting, a panel per data set."""
    points = [point for point in section.points if point]
    names = [n for n in section.datasets if any(section.score(series, n, "hm", p) for p in points)]
    if len(names) < 2 or len(points) < 2:
        return None
    sweep = section.frame.sweep
    figure, axes = panels(len(names))
    for one, name in zip(axes, names, strict=True):
        theirs = [published().value(sweep, "mmrl", name, "hm", point) for point in points]
        if shown(section, name) and series.method == "mmrl" and any(theirs):
            _line(one, theirs, reference_label(series, published()), published_style(series))
        scores = [section.score(series, name, "hm", point) for point in points]
        _scores(one, scores, section.label(series), style_of(section, series))
        one.set_title(dataset_name(name))
        _ticks(one, points)
    for one in axes[:: min(4, len(axes))]:
        one.set_ylabel("HM, %")
    legend_below(figure, axes)
    context = "" if comparable(section) else " Published lines, where there are any, are context."
    return Picture(
        f"{slug}-each",
        f"{section.label(series)}: HM over {NAMES[sweep]}, every data set",
        "Harmonic mean in %, means over seeds; bars are standard deviations. Values stand at equal "
        f"distances. The panels' scales differ.{context}",
        figure,
    )


def _line(axes: Axes, values: Sequence[float | None], label: str, style: dict) -> None:
    found = [(i, value) for i, value in enumerate(values) if value is not None]
    axes.plot(*zip(*found, strict=True), label=label, **style)


def _scores(axes: Axes, scores: Sequence, label: str, style: dict) -> None:
    found = [(i, score) for i, score in enumerate(scores) if score]
    if found:
        axes.errorbar(
            [i for i, _ in found],
            [score.mean for _, score in found],
            [score.std or 0 for _, score in found],
            label=label,
            linewidth=1.8,
            elinewidth=1,
            capsize=2,
            **style,
        )


def _ticks(axes: Axes, points: Sequence[str]) -> None:
    axes.set_xticks(range(len(points)), points)
    axes.set_xlim(-0.3, len(points) - 0.7)
    if len(points) > 8:
        axes.tick_params(axis="x", labelsize=7.5, rotation=60)
