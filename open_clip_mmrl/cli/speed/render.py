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

    def cell(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    def row(
        name: str,
        unit: float,
        digits: int,
        ours: float | None,
        reference: float | None,
        *other: float,
    ) -> None:
        values = [None if value is None else value / unit for value in (ours, reference)]
        ratio = reference / ours if ours and reference else None
        cells = [*(cell(value, digits) for value in values), cell(ratio, 2)]
        table.add_row(name, *cells, cell(other[0] if other else None, digits))

    step, scored = found.train_step, found.eval
    seconds = (step.seconds, step.reference_seconds)
    row("training step, s", 1, 3, *seconds)
    row("training, ms per image", batch / 1000, 1, *seconds)
    row("operations per step, 10^9", 1e9, 1, step.operations, step.reference_operations)
    row("peak memory, MB", 1e6, 0, step.peak_bytes, step.reference_peak_bytes)
    row("step / operation floor", step.floor_seconds, 2, step.seconds, None)
    row(
        "scoring, images/s", 1, 1, scored.images_per_second, scored.reference_images_per_second,
        scored.open_clip_images_per_second,
    )  # fmt: skip
    table.caption = (
        f"matrix products run at {found.matrix_product_rate / 1e9:.1f} * 10^9 operations per "
        f"second here; medians of {settings.repeats}; memory is above the model's own"
    )
    return table


def speed_text(found: Measurement) -> str:
    """Return what the table has no row for: how near the step is to the device's own speed."""
    step = found.train_step
    line = (
        f"training: {step.operations_per_second / 1e9:.1f} * 10^9 operations per second, "
        f"{step.share_of_matrix_product_rate:.0%} of {found.machine.device_name}'s matrix products "
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
    first, steps = results[0], [result.train_step for result in results]
    panels: dict[str, list[tuple[float | None, float | None]]] = {
        "seconds per step": [(step.seconds, step.reference_seconds) for step in steps]
    }
    if first.train_step.peak_bytes:
        memory = [(step.peak_bytes, step.reference_peak_bytes) for step in steps]
        panels["peak memory, MB"] = [(a and a / 1e6, b and b / 1e6) for a, b in memory]
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
