"""The scores in a model card: of one run, or of several that differ in nothing but the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any, TypeVar

from ..data.dataset import dataset_name
from ..utils.text import counted, decimal, listing, markdown_text
from .adapter_info import AdapterInfo

_HEADS = {"accuracy": "accuracy", "base": "base", "novel": "novel", "hm": "HM"}
T = TypeVar("T")
Scores = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """What is shown of a run: fields of `RunResult` under their names there, in percent."""

    dataset: str
    test_split: str = "test"
    seed: int | None = None
    metrics: Scores
    zero_shot: Scores
    calibration: Scores = field(default_factory=dict)
    calibration_zero_shot: Scores = field(default_factory=dict)
    calibrated: Scores = field(default_factory=dict)
    test_images: int | None = None
    is_this: bool = True
    """Whether it is the run of this adapter, rather than one of another seed."""


def run_of_header(info: AdapterInfo) -> list[ScoredRun]:
    """Return the run that the adapter's header tells of; nothing where it has no scores."""
    settings = info.settings
    metrics, frozen = (_numbers(info.scores, name) for name in ("metrics", "zero_shot"))
    if not metrics:
        return []
    return [
        ScoredRun(
            dataset=dataset_name(get(settings, "data", str) or "") or "its test images",
            test_split=get(settings, "test_split", str) or "test",
            seed=get(get(settings, "train", dict) or {}, "seed", int),
            metrics=metrics,
            zero_shot=frozen,
        )
    ]


def scores_section(runs: Sequence[ScoredRun]) -> list[str]:
    """Return the lines of the table of accuracies, frozen CLIP's next to them."""
    ours, frozen = columns(runs, "metrics"), columns(runs, "zero_shot")
    if not ours:
        return ["Not recorded in the adapter."]
    first = runs[0]
    images = "" if first.test_images is None else f" {first.test_images:,}"
    text = (
        f"In %, on{images} {first.test_split} images of {markdown_text(first.dataset)}; frozen "
        "CLIP with the same prompt next to it."
    )
    if first.test_split == "val":
        text += " These are *validation* images, by which settings may have been chosen."
    heads = ["seed", *map(words, ours), *(f"frozen CLIP: {_HEADS.get(k, k)}" for k in frozen)]
    rows = [
        [
            f"{_seed(run)} (this file)" if run.is_this and len(runs) > 1 else _seed(run),
            *(_percent([run.metrics.get(key)]) for key in ours),
            *(_percent([run.zero_shot.get(key)]) for key in frozen),
        ]
        for run in runs
    ]
    if len(runs) > 1:
        average = [_percent(values) for values in (*ours.values(), *frozen.values())]
        rows.append(["**mean**", *(f"**{value}**" for value in average)])
    table = [line(heads), line(["---", *(["---:"] * (len(heads) - 1))]), *map(line, rows)]
    note = ["", "HM is the harmonic mean of base (trained on) and novel classes."]
    return [text, "", *table, *(note if "hm" in ours else [])]


def certainty_section(info: AdapterInfo, runs: Sequence[ScoredRun]) -> list[str]:
    """Return the lines on calibration."""
    lines = []
    ours, frozen = columns(runs, "calibration"), columns(runs, "calibration_zero_shot")
    if ours:
        pairs = (
            f"{_percent(values)}{'' if key == 'accuracy' else f' on {words(key)}'} (frozen CLIP "
            f"{_percent(frozen.get(key, []))})"
            for key, values in ours.items()
        )
        lines = [f"Expected calibration error in %, without a temperature: {'; '.join(pairs)}.", ""]
    if info.calibration is None:
        return [
            *lines,
            "It was trained without `--calibrate`: probabilities are the model's own, and it has "
            'no sets of classes (`--coverage`) and no answer "none of these" (`--reject`).',
        ]
    count = counted(len(info.calibration.max_softmax), "image")
    kind = {"shots": "training images held back", "val": "validation images"}
    temperatures = (f"{value:.2f} ({name})" for name, value in info.calibration.temperature.items())
    lines.append(
        f"Calibrated on {count}, {kind[info.calibration.held_back]}: temperature "
        f"{listing(temperatures)}. `predict` uses it, `--coverage` and `--reject` work."
    )
    found = next((run.calibrated for run in runs if run.is_this), {})
    if found.get("ece") is not None:
        lines.append(f"With it the expected calibration error is {_percent([found['ece']])} %.")
    if found.get("coverage") is not None:
        lines.append(
            f"Of sets made for {found['confidence_level']:g} %, {found['coverage']:.1f} % hold the "
            f"true class, with {found['set_size']:.2f} classes on average."
        )
    return lines


def _numbers(content: Mapping[str, Any], key: str) -> dict[str, float]:
    found = get(content, key, dict) or {}
    return {name: value for name, value in found.items() if type(value) in (int, float)}


def columns(runs: Sequence[ScoredRun], name: str) -> dict[str, list[float]]:
    """Return the known numbers of all runs by their key, the usual keys first."""
    found: dict[str, list[float]] = {key: [] for key in _HEADS}
    for run in runs:
        for key, value in getattr(run, name).items():
            if value is not None:
                found.setdefault(key, []).append(value)
    return {key: values for key, values in found.items() if values}


def words(key: str) -> str:
    """Return a score's name."""
    return {"base": "base classes", "novel": "novel classes"}.get(key, _HEADS.get(key, key))


def _percent(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return decimal(mean(known), std=stdev(known) if len(set(known)) > 1 else None)


def _seed(run: ScoredRun) -> str:
    return "-" if run.seed is None else str(run.seed)


def get(content: Mapping[str, Any], key: str, kind: type[T]) -> T | None:
    """Return a value of a header, in which anything may be, if it is of this kind."""
    value = content.get(key)
    return value if type(value) is kind else None


def line(cells: Sequence[str]) -> str:
    """Return a line of a table, of cells that are Markdown."""
    return f"| {' | '.join(cells)} |"
