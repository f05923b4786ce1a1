"""Harmonic means over data sets, all around."""

from __future__ import annotations

import math

from ..document import Picture
from ..load.sections import FROZEN, Section
from ..tables.compared import comparable, dataset_name, reference_label, references, shown
from .drawing import GRID, INK, legend_below, new_figure, published_style, style_of, write_at

TABLE = "base-to-novel"


def radar(section: Section, slug: str) -> Picture | None:
    """Ours of every method, and what is published of them; at least three data sets."""
    names = [
        name
        for name in section.datasets
        if any(section.score(series, name, "hm") for series in section.series)
    ]
    if len(names) < 3:
        return None
    ours, others = [], []
    for series in section.series:
        label = section.label(series)
        scores = [section.score(series, name, "hm") for name in names]
        if sum(map(bool, scores)) > 2:
            values = [score.mean if score else math.nan for score in scores]
            # Lines that nearly cover each other still show: later ones are thinner.
            width = max(3.6 - 0.7 * len(ours), 1.4) if series != FROZEN else 1.8
            ours.append((label, values, {"linewidth": width, **style_of(section, series)}))
        for ref in references(section, series, TABLE)[:1] if series != FROZEN else []:
            values = [
                (shown(section, n) and ref.value(TABLE, series.method, n, "hm")) or math.nan
                for n in names
            ]
            others.append((reference_label(series, ref), values, published_style(series)))
    return _draw(section, slug, names, ours, others) if ours else None


def _draw(section: Section, slug: str, names: list[str], ours: list, others: list) -> Picture:
    figure = new_figure(7.4, 7.2)
    axes = figure.add_subplot(projection="polar")
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    angles = [2 * math.pi * i / len(names) for i in range(len(names))]
    for label, values, style in (*ours, *others):
        axes.plot([*angles, angles[0]], [*values, values[0]], label=label, **style)
    drawn = [v for _, values, _ in (*ours, *others) for v in values if not math.isnan(v)]
    floor = max(10 * math.floor((min(drawn) - 5) / 10), 0)
    axes.set_ylim(floor, 100)
    best = [
        max((values[i] for _, values, _ in ours if not math.isnan(values[i])), default=None)
        for i in range(len(names))
    ]
    labels = [
        dataset_name(n) if b is None else f"{dataset_name(n)}\n{b:.1f}"
        for n, b in zip(names, best, strict=True)
    ]
    axes.set_xticks(angles, labels, fontsize=9.5, color=INK)
    axes.tick_params(axis="x", pad=4)
    for text, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side = math.sin(angle)  # names stand outside the circle, whatever their length
        text.set_horizontalalignment("left" if side > 0.2 else "right" if side < -0.2 else "center")
        text.set_verticalalignment(
            "bottom" if math.cos(angle) > 0.9 else "top" if math.cos(angle) < -0.9 else "center"
        )
    rings = [r for r in range(0, 101, 20) if r > floor]
    axes.set_yticks(rings, [])
    for ring in rings:
        place = (math.pi / len(names), ring)
        write_at(axes, str(ring), place, ha="center", fontsize=8, color="#57606a")
    axes.grid(color=GRID, linewidth=0.9)
    axes.spines["polar"].set_color(GRID)
    legend_below(figure, [axes], columns=3)
    caption = ["Accuracy in %, means over seeds; the number at a data set is the best of ours."]
    if floor > 0:
        caption.append(f"The centre is {floor}, not 0.")
    if others and not comparable(section):
        caption.append("Dashed lines are context only.")
    return Picture(
        f"{slug}-radar",
        "Harmonic mean of base and novel accuracy, by data set",
        " ".join(caption),
        figure,
    )
