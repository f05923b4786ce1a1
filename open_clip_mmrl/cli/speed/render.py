"""Measurements as text, as a table for the terminal, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from ...report.figures.drawing import COLORS, image_bytes, new_figure
from ...utils.files import write_atomically
from .measure import Measurement
from .whole_run import WholeRunResult


def speed_table(found: Measurement) -> Table:
    """Return a table of ours, the reference and open_clip, and of what the operations allow."""
    settings, batch = found.settings, found.settings.batch_size
    table = Table(
        title=f"{settings.model}, {settings.method}, {settings.classes} classes, batch {batch}, "
        f"{settings.precision}, {found.machine.device_name}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("")
    for name in ("ours", "reference", "reference / ours", "open_clip"):
        table.add_column(name, justify="right")

    def row(
        name: str,
        ours: float | None,
        reference: float | None,
        digits: int,
        *,
        scale: float = 1,
        open_clip: float | None = None,
    ) -> None:
        def cell(value: float | None, scale: float, digits: int) -> str:
            return "-" if value is None else f"{value * scale:.{digits}f}"

        ratio = reference / ours if ours and reference else None
        cells = (cell(ours, scale, digits), cell(reference, scale, digits), cell(ratio, 1, 2))
        table.add_row(name, *cells, cell(open_clip, scale, digits))

    seconds = (found.seconds, found.reference_seconds)
    row("training step, s", *seconds, 3)
    row("training, ms per image", *seconds, 1, scale=1000 / batch)
    row("operations per step, 10^9", found.operations, found.reference_operations, 1, scale=1e-9)
    row("peak memory, MB", found.peak_bytes, found.reference_peak_bytes, 0, scale=1e-6)
    row("step / operation floor", found.seconds / found.floor_seconds, None, 2)
    row(
        "scoring, images/s",
        found.images_per_second,
        found.reference_images_per_second,
        1,
        open_clip=found.open_clip_images_per_second,
    )
    table.caption = (
        f"matrix products run at {found.matrix_product_rate / 1e9:.1f} * 10^9 operations per "
        f"second here; medians of {settings.repeats}; memory is above the model's own"
    )
    return table


def speed_text(found: Measurement) -> str:
    """Return what the table has no row for: how near the step is to the device's own speed."""
    speed = found.operations / found.seconds
    line = (
        f"training: {speed / 1e9:.1f} * 10^9 operations per second, "
        f"{speed / found.matrix_product_rate:.0%} of {found.machine.device_name}'s matrix products "
        f"in the same precision{', as a CUDA graph' if found.settings.cuda_graph else ''}"
    )
    return "\n".join([line, *found.notes])


def whole_run_text(found: WholeRunResult) -> str:
    """Return the result in a line, and its warnings."""
    run, summary = found.run, found.summary
    line = (
        f"{run.model}, {run.method}, {run.precision}, {found.machine.device_name}: "
        f"{run.classes} classes x {run.shots} images x {run.epochs} epochs of "
        f"{run.width} x {run.height} pixels in {summary.seconds:.1f} s "
        f"({found.images_per_second:.1f} images/s, {summary.ms_per_image:.2f} ms per image)"
    )
    return "\n".join([line, *summary.notes])


def speed_figure(results: Sequence[Measurement], path: Path) -> None:
    """Draw time and memory of a training step against the number of classes, log axes."""
    first = results[0]
    panels = {
        "seconds per step": [(r.seconds, r.reference_seconds) for r in results],
        "peak memory, MB": [
            (
                r.peak_bytes and r.peak_bytes / 1e6,
                r.reference_peak_bytes and r.reference_peak_bytes / 1e6,
            )
            for r in results
        ],
    }
    panels = {label: values for label, values in panels.items() if values[0][0]}
    classes = [r.settings.classes for r in results]
    figure = new_figure(4.5 * len(panels), 4)
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (label, values) in zip(drawn, panels.items(), strict=True):
        for index, (name, method) in enumerate((("ours", "mmrl"), ("reference", "zeroshot"))):
            pairs = zip(classes, values, strict=True)
            points = [(count, value[index]) for count, value in pairs if value[index]]
            if points:
                axes.plot(*zip(*points, strict=True), "o-", label=name, color=COLORS[method])
        axes.set(xscale="log", yscale="log", xlabel="classes", ylabel=label)
        axes.grid(which="both", color="#e4e4e4", linewidth=0.6)
        axes.legend(frameon=False)
    figure.suptitle(
        f"{first.settings.model}, {first.settings.method}, batch {first.settings.batch_size}, "
        f"{first.settings.precision}, {first.machine.device_name}",
        fontsize=11,
    )
    write_atomically(path, image_bytes(figure))
