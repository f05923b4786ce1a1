"""Base against novel accuracy of one trained model, over alpha."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

from ...experiments.result_parts import AlphaPoint
from ..document import Picture
from ..load.run import Series
from ..load.sections import Section
from ..tables.comparison import dataset_groups
from .drawing import legend_below, outer_labels, panels, style_of, write_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPLITS = ("base", "novel")
LABELED = (0.0, 1.0, 0.7, 0.5)
"""Values of alpha that are written next to their points, the most important first."""
_NEAR = 0.07
"""Of a panel's width and height: points nearer than that share one label."""
Side = Literal["right", "left"]
_SIDES: tuple[Side, ...] = ("right", "left")
"""Where the labels are, for the first two series; those of more would cover each other."""


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


def _path(
    axes: Axes,
    curve: Sequence[AlphaPoint],
    label: str,
    style: dict[str, Any],
    side: Side | None,
) -> None:
    base, novel = ([point.scores[split] for point in curve] for split in _SPLITS)
    axes.plot(base, novel, label=label, linewidth=1.5, **style | {"markersize": 2.5})
    written: list[AlphaPoint] = []
    for value in LABELED:
        for point in curve:
            if abs(point.alpha - value) < 1e-6:
                axes.plot(*_place(point), **style | {"markersize": 5})
                if side and not any(_near(axes, point, other) for other in written):
                    _write(axes, point, side, style["color"])
                    written.append(point)


def _place(point: AlphaPoint) -> tuple[float, float]:
    return point.scores["base"], point.scores["novel"]


def _near(axes: Axes, point: AlphaPoint, other: AlphaPoint) -> bool:
    spans = (axes.dataLim.width, axes.dataLim.height)
    pairs = zip(_place(point), _place(other), spans, strict=True)
    return all(abs(a - b) <= _NEAR * span for a, b, span in pairs)


def _write(axes: Axes, point: AlphaPoint, side: Side, color: str) -> None:
    # Ends are written off the line, which begins and stops there.
    down = {0.0: -7, 1.0: 7}.get(point.alpha, 0)
    across, anchor = (6, "left") if side == "right" else (-6, "right")
    how = {"xytext": (across, down), "ha": anchor, "fontsize": 8, "color": color}
    write_at(axes, f"{point.alpha:g}", _place(point), **how)
