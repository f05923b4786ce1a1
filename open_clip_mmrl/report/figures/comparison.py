"""Bars of methods next to each other, as the demo draws them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...utils.files import write_atomically
from ..tables.methods import MethodRow
from .drawing import COLORS, image_bytes, legend_below, new_figure, plain

_GROUPS = ("base classes\n(seen in training)", "novel classes\n(new names)", "harmonic mean")


def comparison_figure(rows: Sequence[MethodRow], title: str, path: str | Path) -> Path:
    """Draw base, novel and harmonic mean, one group for each, one color per method."""
    colors = [COLORS[name] for name in ("zeroshot", "mmrl", "mmrl++", "linear_probe")]
    figure = new_figure(7.2, 4.2)
    axes = figure.add_subplot()
    width = 0.8 / len(rows)
    for i, row in enumerate(rows):
        values = [row.base.mean, row.novel.mean, row.hm.mean]
        errors = [row.base.std or 0, row.novel.std or 0, 0]
        places = [g + (i - (len(rows) - 1) / 2) * width for g in range(len(_GROUPS))]
        axes.bar(places, values, width * 0.94, label=row.method, color=colors[i % len(colors)])
        for x, value, error in zip(places, values, errors, strict=True):
            axes.annotate(
                f"{value:.1f}",
                (x, value + error),  # above the error bar, where there is one
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        if row.base.seeds > 1:
            axes.errorbar(
                places[:2], values[:2], errors[:2], fmt="none", ecolor="#333333", capsize=3, lw=1
            )
    axes.set_xticks(range(len(_GROUPS)), _GROUPS)
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("accuracy, %")
    axes.set_title(title, fontsize=11, loc="left")
    plain(axes)
    axes.grid(axis="x", visible=False)
    legend_below(figure, [axes])
    path = Path(path)
    write_atomically(path, image_bytes(figure))
    return path
