"""Harmonic means of all data sets in one circle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ..document import Picture
from ..load.run import FROZEN, Series
from ..load.sections import Section
from ..tables.comparison import (
    comparable,
    dataset_name,
    published_value,
    reference_label,
    references_for,
)
from .drawing import (
    GRID,
    INK,
    legend_below,
    new_figure,
    published_style,
    shortened,
    style_of,
    write_at,
)

if TYPE_CHECKING:
    from matplotlib.projections.polar import PolarAxes

TABLE = "base-to-novel"
MOST = 16
"""Data sets whose names have room around the circle."""


@dataclass(frozen=True)
class _Line:
    label: str
    values: list[float]
    """Percent by data set; not a number where there is none."""
    style: dict[str, Any]


def radar(section: Section, slug: str) -> Picture | None:
    """Draw HM of every method, and what is published of them; three to `MOST` data sets."""
    names = [
        name
        for name in section.datasets
        if any(section.score(series, name, "hm") for series in section.series)
    ]
    if not 3 <= len(names) <= MOST:
        return None
    ours: list[_Line] = []
    others: list[_Line] = []
    for series in section.series:
        scores = [section.score(series, name, "hm") for name in names]
        if sum(map(bool, scores)) > 2:
            values = [score.mean if score else math.nan for score in scores]
            # Lines that nearly cover each other still show: later ones are thinner.
            width = max(3.6 - 0.7 * len(ours), 1.4) if series != FROZEN else 1.8
            style = {"linewidth": width, **style_of(section, series)}
            ours.append(_Line(section.label(series), values, style))
        others += _published_lines(section, series, names)
    if not ours:
        return None
    figure = new_figure(7.4, 7.2)
    axes = cast("PolarAxes", figure.add_subplot(projection="polar"))
    floor = _draw(axes, names, ours, others)
    legend_below(figure, [axes], columns=3)
    caption = ["Accuracy in %, means over seeds; the number at a data set is the best of ours."]
    if floor > 0:
        caption.append(f"The center is {floor}, not 0.")
    if others and not comparable(section):
        caption.append("Dashed lines are context only.")
    title = "Harmonic mean of base and novel accuracy, by data set"
    return Picture(f"{slug}-radar", title, " ".join(caption), figure)


def _published_lines(section: Section, series: Series, names: Sequence[str]) -> list[_Line]:
    """Return the first source's line; none for frozen CLIP."""
    refs = references_for(section, series, TABLE)
    if series == FROZEN or not refs:
        return []
    found = (published_value(section, refs[0], TABLE, series.method, [n], "hm") for n in names)
    values = [math.nan if value is None else value for value in found]
    return [_Line(reference_label(series, refs[0]), values, published_style(series))]


def _draw(
    axes: PolarAxes, names: Sequence[str], ours: Sequence[_Line], others: Sequence[_Line]
) -> int:
    """Draw all lines; return the accuracy at the center."""
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    angles = [2 * math.pi * i / len(names) for i in range(len(names))]
    for line in (*ours, *others):
        closed = [*line.values, line.values[0]]
        axes.plot([*angles, angles[0]], closed, label=line.label, **line.style)
    drawn = [v for line in (*ours, *others) for v in line.values if not math.isnan(v)]
    floor = max(10 * math.floor((min(drawn) - 5) / 10), 0)
    axes.set_ylim(floor, 100)
    _dataset_labels(axes, names, angles, ours)
    rings = [r for r in range(0, 101, 20) if r > floor]
    axes.set_yticks(rings, [""] * len(rings))
    for ring in rings:
        place = (math.pi / len(names), ring)
        write_at(axes, str(ring), place, ha="center", fontsize=8, color="#57606a")
    axes.grid(color=GRID, linewidth=0.9)
    axes.spines["polar"].set_color(GRID)
    return floor


def _dataset_labels(
    axes: PolarAxes, names: Sequence[str], angles: Sequence[float], ours: Sequence[_Line]
) -> None:
    """Write every data set's name, and its best score, outside the circle."""
    labels = []
    for i, name in enumerate(names):
        values = [line.values[i] for line in ours if not math.isnan(line.values[i])]
        best = f"\n{max(values):.1f}" if values else ""
        labels.append(f"{shortened(dataset_name(name), 24)}{best}")
    axes.set_xticks(angles, labels, fontsize=9.5, color=INK)
    axes.tick_params(axis="x", pad=4)
    for text, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side = math.sin(angle)  # outside the circle, whatever the length of the name
        text.set_horizontalalignment("left" if side > 0.2 else "right" if side < -0.2 else "center")
        height = math.cos(angle)
        text.set_verticalalignment(
            "bottom" if height > 0.9 else "top" if height < -0.9 else "center"
        )
