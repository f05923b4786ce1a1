"""Base against novel accuracy of one trained model, as both features are mixed otherwise."""

from __future__ import annotations

from itertools import zip_longest

from ..document import Picture
from ..load.sections import Section
from ..tables.compared import averaged, dataset_name
from ..tables.quality import alpha_curve
from .drawing import legend_below, panels, style_of, write_at

LABELLED = (0.0, 1.0, 0.7, 0.5)
"""Values of alpha that are written beside their points, the foremost first; all would overlap."""
_NEAR = 0.07
"""Of a panel's width and height: points nearer than that share one label."""
_SIDES = ("right", "left")
"""Where they stand, for the first two series; those of more would cover each other."""


def alpha_paths(section: Section, slug: str) -> Picture | None:
    """A panel for the average and every data set with an alpha curve; a line per method."""
    names = [
        name
        for name in section.datasets
        if any(alpha_curve(section, series, [name]) for series in section.series)
    ]
    if not names:
        return None
    over = averaged(section, names)
    groups = [(dataset_name(name), [name]) for name in names]
    if len(over) > 1:
        groups.insert(0, (f"average over {len(over)}", over))
    figure, axes = panels(len(groups), width=2.9, height=2.6)
    for one, (title, members) in zip(axes, groups, strict=True):
        curves = {series: alpha_curve(section, series, members) for series in section.series}
        curves = {series: curve for series, curve in curves.items() if curve}
        for (series, curve), side in zip_longest(curves.items(), _SIDES[: len(curves)]):
            _path(one, curve, section.label(series), style_of(section, series), side)
        one.set_title(title, fontweight="bold" if len(members) > 1 else "normal")
        one.margins(0.22)
    for one in axes[:: min(4, len(axes))]:
        one.set_ylabel("novel accuracy, %")
    for one in axes[-min(4, len(axes)) :]:
        one.set_xlabel("base accuracy, %")
    legend_below(figure, axes)
    return Picture(
        f"{slug}-alpha",
        "Base against novel accuracy as alpha goes from 0 to 1",
        "One trained model, both halves scored with the logits of both features mixed at the alpha "
        "beside the point: 0 is the representation feature alone, 1 the class feature. Means over "
        "seeds. The panels' scales differ.",
        figure,
    )


def _path(axes, curve: list[tuple[float, float, float]], label: str, style: dict, side) -> None:
    base, novel = [point[1] for point in curve], [point[2] for point in curve]
    axes.plot(base, novel, label=label, linewidth=1.5, **{**style, "markersize": 2.5})
    written: list[tuple[float, float]] = []
    for value in LABELLED:
        for alpha, x, y in curve:
            if abs(alpha - value) < 1e-6:
                axes.plot(x, y, **{**style, "markersize": 5})
                if side and not any(_near(axes, (x, y), other) for other in written):
                    _write(axes, alpha, (x, y), side, style["color"])
                    written.append((x, y))


def _near(axes, point: tuple[float, float], other: tuple[float, float]) -> bool:
    spans = (axes.dataLim.width, axes.dataLim.height)
    pairs = zip(point, other, spans, strict=True)
    return all(abs(a - b) <= _NEAR * span for a, b, span in pairs)


def _write(axes, alpha: float, place: tuple[float, float], side: str, colour: str) -> None:
    # Ends are written off the line, which begins and stops there.
    down = {0.0: -7, 1.0: 7}.get(alpha, 0)
    across, anchor = (6, "left") if side == "right" else (-6, "right")
    how = {"xytext": (across, down), "ha": anchor, "fontsize": 8, "color": colour}
    write_at(axes, f"{alpha:g}", place, **how)
