"""Base against novel accuracy of one trained model, over alpha."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

from ...experiments.result_parts import AlphaPoint
from ..document import Picture
from ..load.run import Series
from ..load.sections import Section
from ..tables.comparison import dataset_groups
from .drawing import (
    at_least_a_point,
    legend_below,
    outer_labels,
    panel_title,
    panels,
    style_of,
    write_at,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPLITS = ("base", "novel")
LABELED = (0.0, 1.0, 0.7, 0.5)
"""Values of alpha that are written next to their points, the most important first."""
_NEAR = 0.05
"""Of a panel's width and height: points nearer than that share one label."""
_LABELED_SERIES = 2
"""The labels of more would cover the lines."""
_ROOMS = ((125.0, 100.0), (185.0, 145.0))
"""Width and height of a panel inside its axes, at least and at most, in points of 1/72 inch."""


class _Box(NamedTuple):
    """The middle of a label and half its width, in points of 1/72 inch."""

    x: float
    y: float
    half: float


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
        for series, curve in curves.items():
            _path(one, curve, section.label(series), style_of(section, series))
        one.margins(0.22)
        at_least_a_point(one.xaxis)
        at_least_a_point(one.yaxis)
        taken: list[list[_Box]] = []
        for series, curve in list(curves.items())[:_LABELED_SERIES]:
            _write_alphas(one, curve, style_of(section, series)["color"], taken)
        panel_title(one, group.label, group.role == "average")
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


def alpha_curve(section: Section, series: Series, names: Sequence[str]) -> list[AlphaPoint]:
    """Return means over seeds, then over data sets, at every alpha that all data sets have."""
    found: dict[float, dict[str, list[Mapping[str, float]]]] = {}
    for run in section.runs:
        if run.series == series and run.result.dataset in names:
            for point in run.result.alpha_curve:
                if "novel" in point.scores:  # where all classes were trained on there is one score
                    by_dataset = found.setdefault(point.alpha, {})
                    by_dataset.setdefault(run.result.dataset, []).append(point.scores)
    curve = []
    for alpha, by_dataset in sorted(found.items()):
        if len(by_dataset) == len(names):
            seeds = by_dataset.values()
            means = {m: mean(mean(s[m] for s in scores) for scores in seeds) for m in _SPLITS}
            curve.append(AlphaPoint(alpha, means))
    return curve


def _path(axes: Axes, curve: Sequence[AlphaPoint], label: str, style: dict[str, Any]) -> None:
    base, novel = ([point.scores[split] for point in curve] for split in _SPLITS)
    axes.plot(base, novel, label=label, linewidth=1.5, **style | {"markersize": 2.5})
    for point in _labeled(curve):
        axes.plot(*_place(point), **style | {"markersize": 5})


def _labeled(curve: Sequence[AlphaPoint]) -> list[AlphaPoint]:
    return [p for value in LABELED for p in curve if abs(p.alpha - value) < 1e-6]


def _write_alphas(
    axes: Axes, curve: Sequence[AlphaPoint], color: str, taken: list[list[_Box]]
) -> None:
    """Write alphas next to their points, where they meet nothing in `taken`; add them to it."""
    left = bool(taken)  # of the first series right of the line, of the second one left of it
    written: list[AlphaPoint] = []
    for point in _labeled(curve):
        if any(_near(axes, point, other) for other in written):
            continue
        # Ends are written off the line, which begins and stops there.
        down = {0.0: -7, 1.0: 7}.get(point.alpha, 0)
        sides = ((6, down, "left"), (-6, down, "right"))
        for across, up, anchor in (
            *sides[:: -1 if left else 1],
            (0, 10, "center"),
            (0, -10, "center"),
        ):
            boxes = [_box(axes, point, across, up, room) for room in _ROOMS]
            if not any(_meet(*pair) for other in taken for pair in zip(boxes, other, strict=True)):
                how = {"xytext": (across, up), "ha": anchor, "fontsize": 8, "color": color}
                write_at(axes, f"{point.alpha:g}", _place(point), **how)
                taken.append(boxes)
                written.append(point)
                break


def _box(
    axes: Axes, point: AlphaPoint, across: float, up: float, room: tuple[float, float]
) -> _Box:
    """Return where a label of alpha stands in a panel of this room."""
    half = 2.7 * len(f"{point.alpha:g}") + 1
    x, y = (
        value * side / span
        for value, side, span in zip(_place(point), room, _spans(axes), strict=True)
    )
    return _Box(x + across + half * ((across > 0) - (across < 0)), y + up, half)


def _meet(box: _Box, other: _Box) -> bool:
    return abs(box.x - other.x) < box.half + other.half and abs(box.y - other.y) < 11


def _spans(axes: Axes) -> tuple[float, float]:
    return axes.viewLim.width, axes.viewLim.height


def _place(point: AlphaPoint) -> tuple[float, float]:
    return point.scores["base"], point.scores["novel"]


def _near(axes: Axes, point: AlphaPoint, other: AlphaPoint) -> bool:
    pairs = zip(_place(point), _place(other), _spans(axes), strict=True)
    return all(abs(a - b) <= _NEAR * span for a, b, span in pairs)
