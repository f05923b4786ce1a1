"""Base against novel accuracy of one trained model, over alpha."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..document import Picture
from ..load.run import Series
from ..load.sections import Section
from ..tables.comparison import dataset_groups
from .drawing import legend_below, outer_labels, panels, style_of, write_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELED = (0.0, 1.0, 0.7, 0.5)
"""Values of alpha that are written next to their points, the most important first."""
_NEAR = 0.07
"""Of a panel's width and height: points nearer than that share one label."""
Side = Literal["right", "left"]
_SIDES: tuple[Side, ...] = ("right", "left")
"""Where the labels are, for the first two series; those of more would cover each other."""


class AlphaScores(NamedTuple):
    """Accuracies in percent at one alpha."""

    alpha: float
    base: float
    novel: float


def alpha_paths(section: Section, slug: str) -> Picture | None:
    """Draw a panel for the average and every data set with an alpha curve; a line per method."""
    names = [
        name
        for name in section.datasets
        if any(alpha_curve(section, series, [name]) for series in section.series)
    ]
    if not names:
        return None
    groups = dataset_groups(section, names)
    figure, axes = panels(len(groups), width=2.9, height=2.6)
    for one, group in zip(axes, groups, strict=True):
        curves = {series: alpha_curve(section, series, group.datasets) for series in section.series}
        curves = {series: curve for series, curve in curves.items() if curve}
        for (series, curve), side in zip_longest(curves.items(), _SIDES[: len(curves)]):
            _path(one, curve, section.label(series), style_of(section, series), side)
        one.set_title(group.label, fontweight="bold" if group.role == "average" else "normal")
        one.margins(0.22)
    outer_labels(axes, x="base accuracy, %", y="novel accuracy, %")
    legend_below(figure, axes)
    return Picture(
        f"{slug}-alpha",
        "Base against novel accuracy for alpha from 0 to 1",
        "One trained model; base and novel classes are scored with the logits of both features "
        "mixed at the alpha next to the point: 0 is the representation feature alone, 1 the class "
        "feature. Means over seeds. The panels' scales differ.",
        figure,
    )


def alpha_curve(section: Section, series: Series, names: Sequence[str]) -> list[AlphaScores]:
    """Return means over seeds, then over data sets; empty unless all data sets have a curve."""
    by_dataset = [_means(section, series, name) for name in names]
    alphas = set.intersection(*map(set, by_dataset)) if by_dataset else set()
    return [
        AlphaScores(
            alpha,
            mean(points[alpha].base for points in by_dataset),
            mean(points[alpha].novel for points in by_dataset),
        )
        for alpha in sorted(alphas)
    ]


def _means(section: Section, series: Series, name: str) -> dict[float, AlphaScores]:
    """Return the means over seeds by alpha."""
    found: dict[float, list[AlphaScores]] = {}
    for run in section.runs:
        if (run.series, run.result.dataset) != (series, name):
            continue
        for point in run.result.alpha_curve:
            if {"base", "novel"} <= point.scores.keys():  # where all classes were trained on, one
                scores = AlphaScores(point.alpha, point.scores["base"], point.scores["novel"])
                found.setdefault(point.alpha, []).append(scores)
    return {
        alpha: AlphaScores(alpha, mean(s.base for s in scores), mean(s.novel for s in scores))
        for alpha, scores in found.items()
    }


def _path(
    axes: Axes,
    curve: Sequence[AlphaScores],
    label: str,
    style: dict[str, Any],
    side: Side | None,
) -> None:
    base, novel = [point.base for point in curve], [point.novel for point in curve]
    axes.plot(base, novel, label=label, linewidth=1.5, **style | {"markersize": 2.5})
    written: list[AlphaScores] = []
    for value in LABELED:
        for point in curve:
            if abs(point.alpha - value) < 1e-6:
                axes.plot(point.base, point.novel, **style | {"markersize": 5})
                if side and not any(_near(axes, point, other) for other in written):
                    _write(axes, point, side, style["color"])
                    written.append(point)


def _near(axes: Axes, point: AlphaScores, other: AlphaScores) -> bool:
    width, height = axes.dataLim.width, axes.dataLim.height
    return (
        abs(point.base - other.base) <= _NEAR * width
        and abs(point.novel - other.novel) <= _NEAR * height
    )


def _write(axes: Axes, point: AlphaScores, side: Side, color: str) -> None:
    # Ends are written off the line, which begins and stops there.
    down = {0.0: -7, 1.0: 7}.get(point.alpha, 0)
    across, anchor = (6, "left") if side == "right" else (-6, "right")
    write_at(
        axes,
        f"{point.alpha:g}",
        (point.base, point.novel),
        xytext=(across, down),
        ha=anchor,
        fontsize=8,
        color=color,
    )
