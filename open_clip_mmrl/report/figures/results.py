"""The first picture of a report: one score per row, next to frozen CLIP's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..document import Picture
from ..load.sections import Score
from .drawing import COLORS, INK, at_least_a_point, legend_below, new_figure, plain, shortened

_LETTERS = 56
"""Of a row's name that are written."""


@dataclass(frozen=True)
class Bar:
    """A row: its name, our score and frozen CLIP's."""

    name: str
    score: Score
    frozen: Score | None
    method: str = "mmrl"


def result_dots(bars: Sequence[Bar], name: str, title: str, metric: str) -> Picture | None:
    """Draw a dot per row with its standard deviation, best first; frozen CLIP as a line."""
    if len(bars) < 2:
        return None
    names = [shortened(bar.name, _LETTERS) for bar in bars]
    letters = max(map(len, names))
    figure = new_figure(5.0 + 0.065 * max(0, letters - 20), 0.3 * len(bars) + 1.3)
    axes = figure.add_subplot()
    plain(axes)
    axes.grid(axis="y", visible=False)
    for row, bar in enumerate(bars):
        color = COLORS.get(bar.method, INK)
        if bar.frozen:
            gray = {"color": COLORS["zeroshot"], "label": "frozen CLIP", "markeredgewidth": 2}
            axes.plot([bar.frozen.mean], [row], "|", markersize=13, **gray)
            axes.plot([bar.frozen.mean, bar.score.mean], [row, row], color=color, alpha=0.35)
        axes.errorbar(
            [bar.score.mean], [row], xerr=[bar.score.std or 0], fmt="o", color=color, capsize=2.5
        )
    axes.set_yticks(range(len(bars)), names)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(metric)
    at_least_a_point(axes.xaxis)
    legend_below(figure, [axes])
    caption = "Means over seeds; bars are standard deviations. The axis does not begin at 0."
    return Picture(name, title, caption, figure)
