"""Base against novel accuracy of one trained model, as both features are mixed otherwise."""

from __future__ import annotations

from .beside import averaged, dataset_name
from .document import Picture
from .drawing import legend_below, panels, style_of, write_at
from .quality import alpha_curve
from .sections import Section

LABELLED = (0.0, 0.5, 0.7, 1.0)
"""Values of alpha that are written beside their points; all would overlap."""
_SIDES = ("right", "left", None, None, None)
"""Where they stand, for the first series, the second, and more."""


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
        for (series, curve), side in zip(curves.items(), _SIDES, strict=False):
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
        "One trained model, both halves scored with both features mixed at the alpha beside the "
        "point: 0 is the representation feature alone, 1 the class feature. Means over seeds. The "
        "panels' scales differ.",
        figure,
    )


def _path(axes, curve: list[tuple[float, float, float]], label: str, style: dict, side) -> None:
    base, novel = [point[1] for point in curve], [point[2] for point in curve]
    axes.plot(base, novel, label=label, linewidth=1.5, **{**style, "markersize": 2.5})
    for alpha, x, y in curve:
        if not any(abs(alpha - value) < 1e-6 for value in LABELLED):
            continue
        axes.plot(x, y, **{**style, "markersize": 5})
        if side:
            across = 6 if side == "right" else -6
            # Ends are written off the line, which begins and stops there.
            down = {0.0: -7, 1.0: 7}.get(alpha, 0)
            write_at(
                axes,
                f"{alpha:g}",
                (x, y),
                xytext=(across, down),
                ha="left" if side == "right" else "right",
                fontsize=8,
                color=style["color"],
            )
