"""The demo's rows and picture: methods next to frozen CLIP, over their seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from ...evaluation.metrics import harmonic_mean
from ...utils.files import write_atomically
from .drawing import COLOURS, image_bytes, legend_below, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FROZEN = "frozen CLIP"
_LABELS = {"mmrl": "MMRL", "mmrl++": "MMRL++"}


@dataclass(frozen=True)
class Row:
    """One method over its seeds: accuracies in percent, mean and sample standard deviation.

    The deviation is 0 where there is one seed only.
    """

    method: str
    base: float
    novel: float
    base_std: float
    novel_std: float
    parameters: int
    train_ms: float | None
    eval_ms: float | None
    seeds: int

    @property
    def hm(self) -> float:
        """Harmonic mean of the mean accuracies."""
        return harmonic_mean(self.base, self.novel)


def read_results(folder: str | Path) -> list[dict[str, Any]]:
    """All results.json files at or below a folder, in the order of their paths."""
    found = sorted(Path(folder).glob("**/results.json"))
    if not found:
        raise ValueError(f"There is no results.json at or below {folder}.")
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


def base_to_novel_rows(results: Sequence[dict[str, Any]]) -> list[Row]:
    """The frozen model first, then every method in order of appearance, over its seeds."""
    results = [r for r in results if r["protocol"] == "base-to-novel"]
    if not results:
        raise ValueError("None of the results is of the base-to-novel protocol.")
    rows = [_row(FROZEN, [r["zero_shot"] for r in results[:1]], 0, None, None)]
    for method in dict.fromkeys(r["method"] for r in results):
        runs = [r for r in results if r["method"] == method]
        rows.append(
            _row(
                _LABELS.get(method, method),
                [r["metrics"] for r in runs],
                runs[0]["trainable_parameters"],
                mean(r["train_ms_per_image"] for r in runs),
                mean(1000 / r["eval_images_per_second"] for r in runs),
            )
        )
    return rows


def _row(method, metrics, parameters, train_ms, eval_ms) -> Row:
    base, novel = [m["base"] for m in metrics], [m["novel"] for m in metrics]
    return Row(
        method=method,
        base=mean(base),
        novel=mean(novel),
        base_std=_deviation(base),
        novel_std=_deviation(novel),
        parameters=parameters,
        train_ms=train_ms,
        eval_ms=eval_ms,
        seeds=len(metrics),
    )


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def comparison_figure(rows: Sequence[Row], title: str, path: str | Path) -> Path:
    """Bars of base, novel and harmonic mean, one group for each, one colour per method."""
    groups = ("base classes\n(seen in training)", "novel classes\n(new names)", "harmonic mean")
    colours = [COLOURS[name] for name in ("zeroshot", "mmrl", "mmrl++", "linear_probe")]
    figure = new_figure(7.2, 4.2)
    axes = figure.add_subplot()
    width = 0.8 / len(rows)
    for i, row in enumerate(rows):
        values = (row.base, row.novel, row.hm)
        errors = (row.base_std, row.novel_std, 0)
        places = [g + (i - (len(rows) - 1) / 2) * width for g in range(len(groups))]
        colour = colours[i % len(colours)]
        axes.bar(places, values, width * 0.94, label=row.method, color=colour)
        for x, value, error in zip(places, values, errors, strict=True):
            axes.annotate(
                f"{value:.1f}",
                (x, value + error),  # above the error bar, where there is one
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        if row.seeds > 1:
            axes.errorbar(
                places[:2], values[:2], errors[:2], fmt="none", ecolor="#333333", capsize=3, lw=1
            )
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("accuracy, %")
    axes.set_title(title, fontsize=11, loc="left")
    plain(axes)
    axes.grid(axis="x", visible=False)
    legend_below(figure, [axes])
    return _save(figure, path)


def _save(figure: Figure, path: str | Path) -> Path:
    write_atomically(path, image_bytes(figure))
    return Path(path)
