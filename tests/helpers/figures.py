"""Look into the pictures of a report."""


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
    """Pairs of written texts whose boxes meet."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    texts = [t for axes in figure.axes for t in (*axes.get_xticklabels(), axes.title)]
    texts = [text for text in texts if text.get_text().strip() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    return [
        (name, other)
        for i, (name, box) in enumerate(boxes)
        for other, second in boxes[i + 1 :]
        if box.overlaps(second)
    ]


def cut_off(figure):
    """Return legends that are not within the picture."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    width = figure.bbox.width
    boxes = [legend.get_window_extent(renderer) for legend in figure.legends]
    return [box for box in boxes if box.x0 < 0 or box.x1 > width]
