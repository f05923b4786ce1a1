"""Time and memory of a training step against the number of classes, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...report.figures.drawing import COLORS, image_bytes, new_figure
from ...utils.files import write_atomically


def speed_figure(results: Sequence[dict[str, Any]], path: str | Path) -> Path:
    """Time and memory of a training step against the number of classes, log axes."""
    settings = results[0]["settings"]
    measured = {"seconds": ("seconds per step", 1), "peak_bytes": ("peak memory, MB", 1e6)}
    measured = {k: v for k, v in measured.items() if results[0]["train_step"][k]}
    compared = {"ours": ("", COLORS["mmrl"]), "reference": ("reference_", COLORS["zeroshot"])}
    figure = new_figure(4.5 * len(measured), 4)
    panels = figure.subplots(1, len(measured), squeeze=False)[0]
    for axes, (key, (label, unit)) in zip(panels, measured.items(), strict=True):
        for name, (prefix, colour) in compared.items():
            points = [
                (r["settings"]["classes"], r["train_step"][prefix + key] / unit)
                for r in results
                if r["train_step"][prefix + key]
            ]
            if points:
                axes.plot(*zip(*points, strict=True), "o-", label=name, color=colour)
        axes.set(xscale="log", yscale="log", xlabel="classes", ylabel=label)
        axes.grid(which="both", color="#e4e4e4", linewidth=0.6)
        axes.legend(frameon=False)
    figure.suptitle(
        f"{settings['model']}, {settings['method']}, batch {settings['batch_size']}, "
        f"{settings['precision']}, {settings['device_name']}",
        fontsize=11,
    )
    write_atomically(path, image_bytes(figure))
    return Path(path)
