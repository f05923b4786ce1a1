"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from ..report.tables.methods import MethodRow
from ..utils.text import decimal


def comparison_table(rows: Sequence[MethodRow]) -> Table:
    """Return base, novel, harmonic mean and cost, a line per method."""
    table = Table(
        title="Base-to-novel generalization, accuracy in %",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("method", no_wrap=True)
    columns = ("base", "novel", "HM", "trained\nparameters", "train\nms/image", "test\nms/image")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.method,
            decimal(row.base.mean, 1, row.base.std),
            decimal(row.novel.mean, 1, row.novel.std),
            decimal(row.hm.mean, 1),
            f"{row.parameters:,}",
            _milliseconds(row.train_ms),
            _milliseconds(row.eval_ms),
        )
    return table


def scores_table(title: str, scores: dict[str, dict[str, float]]) -> Table:
    """Return one line per model, one column per metric, in percent."""
    table = Table(title=title, title_justify="left", min_width=len(title), box=box.SIMPLE_HEAD)
    table.add_column("model")
    columns = list(next(iter(scores.values())))
    for name in columns:
        table.add_column("HM" if name == "hm" else name, justify="right")
    for model, metrics in scores.items():
        table.add_row(model, *(decimal(metrics[name]) for name in columns))
    return table


def speed_table(result: dict) -> Table:
    """One setting of `speed.measure`: ours, the reference, open_clip, and what the counts allow."""
    train, scored, settings = result["train_step"], result["eval"], result["settings"]
    table = Table(
        title=f"{settings['model']}, {settings['method']}, {settings['classes']} classes, batch "
        f"{settings['batch_size']}, {settings['precision']}, {settings['device_name']}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("")
    for name in ("ours", "reference", "reference / ours", "open_clip"):
        table.add_column(name, justify="right")

    def row(name: str, ours: float | None, reference: float | None, form, other: str = "-") -> None:
        ratio = f"{reference / ours:.2f}" if ours and reference else "-"
        cells = ("-" if value is None else form(value) for value in (ours, reference))
        table.add_row(name, *cells, ratio, other)

    batch = settings["batch_size"]
    row("training step, s", train["seconds"], train["reference_seconds"], "{:.3f}".format)
    row(
        "training, ms per image",
        1000 * train["seconds"] / batch,
        train["reference_seconds"] and 1000 * train["reference_seconds"] / batch,
        "{:.1f}".format,
    )
    row(
        "operations per step, 10^9",
        train["operations"] / 1e9,
        train["reference_operations"] / 1e9,
        "{:.1f}".format,
    )
    row(
        "peak memory, MB",
        train["peak_bytes"] and train["peak_bytes"] / 1e6,
        train["reference_peak_bytes"] and train["reference_peak_bytes"] / 1e6,
        "{:.0f}".format,
    )
    row(
        "step / operation floor",
        train["seconds"] / train["floor_seconds"],
        None,
        "{:.2f}".format,
    )
    reference = scored["reference_images_per_second"]
    table.add_row(
        "scoring, images/s",
        f"{scored['images_per_second']:.1f}",
        "-" if reference is None else f"{reference:.1f}",
        "-" if reference is None else f"{reference / scored['images_per_second']:.2f}",
        f"{scored['open_clip_images_per_second']:.1f}",
    )
    table.caption = (
        f"matrix products run at {result['matrix_product_rate'] / 1e9:.1f} * 10^9 operations per "
        f"second here; medians of {settings['repeats']}; memory is above the model's own"
    )
    return table


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else decimal(value)
