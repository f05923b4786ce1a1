"""Look into the pictures of a report."""

from unittest.mock import patch

from matplotlib.text import Text


def labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def lines(axes):
    """{label: (x, y)} of the lines of an axes, error bars too."""
    handles = zip(*axes.get_legend_handles_labels(), strict=True)
    found = {label: getattr(handle, "lines", [handle])[0] for handle, label in handles}
    found = {label: line for label, line in found.items() if hasattr(line, "get_xdata")}
    return {
        label: (list(line.get_xdata()), list(line.get_ydata())) for label, line in found.items()
    }


def overlapping(figure):
    """Return pairs of written texts whose boxes meet."""
    boxes = _boxes(figure)
    return [
        (name, other)
        for i, (name, box) in enumerate(boxes)
        for other, second in boxes[i + 1 :]
        if box.x0 < second.x1 and second.x0 < box.x1 and box.y0 < second.y1 and second.y0 < box.y1
    ]


def cut_off(figure):
    """Return texts that are not within the picture."""
    width, height = figure.bbox.width, figure.bbox.height
    return [
        name
        for name, box in _boxes(figure)
        if min(box.x0, box.y0) < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]


def _boxes(figure):
    """Return every text that is drawn, with its box in pixels."""
    renderer = figure.canvas.get_renderer()
    drawn = []

    def draw(text, *args, **kwargs):
        if text.get_visible() and text.get_text().strip():
            drawn.append(text)
        return write(text, *args, **kwargs)

    write = Text.draw
    with patch.object(Text, "draw", draw):
        figure.draw(renderer)
    # The box of an annotation has its arrow too, and the point.
    return [(text.get_text(), Text.get_window_extent(text, renderer)) for text in drawn]
