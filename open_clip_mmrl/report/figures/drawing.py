"""What all pictures share: canvas, colors, small multiples, bytes of files."""

from __future__ import annotations

import io
import warnings
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

from ..load.run import Series
from ..load.sections import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which the color-blind can read too. A method keeps its color everywhere;
# a second source of settings for it takes one of the spare ones.
COLORS = {
    "zeroshot": "#767676",
    "linear_probe": "#009e73",
    "tip_adapter": "#999933",
    "tip_adapter_f": "#661100",
    "coop": "#44aa99",
    "clip_lora": "#332288",
    "mmrl": "#0072b2",
    "mmrl++": "#d55e00",
}
_SPARE = ("#cc79a7", "#56b4e9", "#e69f00", "#882255", "#000000")
_MARKERS = {"zeroshot": "", "linear_probe": "^", "mmrl": "o", "mmrl++": "s"}
METRIC_COLORS = {"base": "#56b4e9", "novel": "#e69f00", "hm": "#444444"}
INK, GRID = "#24292f", "#e3e6ea"
_SETTINGS = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8c959f",
    "axes.titlesize": 9.5,
    "legend.fontsize": 9,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "open_clip_mmrl",  # the same picture gives the same bytes
}
_WIDE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK TC",
    "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Microsoft YaHei", "SimHei", "Yu Gothic",
    "Malgun Gothic", "Arial Unicode MS", "Unifont",
)  # fmt: skip
"""With Chinese, Japanese or Korean characters, which matplotlib's own font draws as boxes."""


def style_context() -> AbstractContextManager:
    """Return a context in which everything is drawn and saved in one style."""
    from matplotlib import rc_context

    return rc_context({**_SETTINGS, "font.family": font_families()})


def font_families() -> list[str]:
    """Return the usual font, then those on this machine that have what it lacks."""
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return ["sans-serif", *(name for name in _WIDE_FONTS if name in there)]


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of this many inches, drawn without a screen and without pyplot's state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def disable_mathtext(figure: Figure) -> Figure:
    """Draw a "$" in a name as a "$", not as the start of a formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def image_bytes(figure: Figure, kind: Literal["png", "svg"] = "png") -> bytes:
    """Return the file's content; the same for the same figure."""
    stream = io.BytesIO()
    with style_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # no font here has it
        metadata = {"Date": None} if kind == "svg" else {}
        figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
    figure.set_layout_engine("none")  # laid out once is enough for both kinds, and slow
    return stream.getvalue()


def panels(
    count: int, columns: int = 4, width: float = 2.75, height: float = 2.3
) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` axes in rows of `columns`, and the axes."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(max(width * columns, 4.2), height * rows + 0.5)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.set_visible(False)
    for one in axes[:count]:
        plain(one)
    return figure, axes[:count]


def outer_labels(axes: list[Axes], x: str = "", y: str = "", columns: int = 4) -> None:
    """Label the first axes of every row, and the last row, of `panels`."""
    columns = min(columns, len(axes))
    for one in axes[::columns] if y else []:
        one.set_ylabel(y)
    for one in axes[-columns:] if x else []:
        one.set_xlabel(x)


def shortened(text: str, letters: int = 30) -> str:
    """Return a name that has room: of a long one the beginning and the end."""
    half = letters // 2
    return text if len(text) <= letters else f"{text[:half].rstrip()}…{text[-half:].lstrip()}"


def panel_title(axes: Axes, label: str, bold: bool = False) -> None:
    """Write a panel's title; an average's is bold."""
    axes.set_title(shortened(label), fontweight="bold" if bold else "normal")


def plain(axes: Axes) -> None:
    """Leave out what is not read: no box, a light grid below the data."""
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def at_least_a_point(axis: Axis) -> None:
    """Show at least one point of accuracy, so that differences of nothing do not look like some."""
    low, high = axis.get_view_interval()
    missing = max(0.0, 1.0 - (high - low)) / 2
    axis.set_view_interval(low - missing, high + missing, ignore=True)


def write_at(axes: Axes, text: str, place: tuple[float, float], **kwargs: Any) -> None:
    """Write text that stays readable where it crosses a line; offsets in points."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground="white")]
    kwargs = {"xytext": (0, 0), "textcoords": "offset points", "zorder": 5, **kwargs}
    axes.annotate(text, place, path_effects=halo, va="center", **kwargs)


def style_of(section: Section, series: Series) -> dict[str, Any]:
    """Return color and marker of our results."""
    methods = [one.method for one in section.series]
    first = [methods.index(method) for method in dict.fromkeys(methods) if method in COLORS]
    others = [one for i, one in enumerate(section.series) if i not in first]
    spare = _SPARE[others.index(series) % len(_SPARE)] if series in others else None
    color = spare or COLORS[series.method]
    return {"color": color, "marker": _MARKERS.get(series.method, "D"), "markersize": 4.5}


def published_style(series: Series) -> dict[str, Any]:
    """Return the style of published results: the method's color, dashed and hollow."""
    return {
        "color": COLORS.get(series.method, INK),
        "linestyle": (0, (4, 2)),
        "linewidth": 1.2,
        "marker": _MARKERS.get(series.method, "D"),
        "markersize": 5.5,
        "markerfacecolor": "white",
    }


def legend_below(figure: Figure, axes: list[Axes], columns: int = 6) -> None:
    """Draw one legend for all axes, every label once; what is not ours comes last.

    At most `columns` in a row, and no more than the figure has room for.
    """
    found = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    labels = sorted(found, key=lambda label: "published" in label or "rerun" in label)
    if labels:
        inches = 0.7 + 0.075 * max(map(len, labels))  # of an entry: handle, gap, letters
        columns = max(1, min(columns, len(labels), int(figure.get_figwidth() / inches)))
        figure.legend(
            [found[label] for label in labels],
            labels,
            loc="outside lower center",
            ncols=columns,
            frameon=False,
        )
