"""Tables of one's own runs side by side."""

from __future__ import annotations

from collections.abc import Sequence

from ...experiments.results import ADAPTER
from ..load.settings import TEST_IMAGES, option, value_text
from ..load.trials import Comparison, Split, Trial
from .builder import LABELS
from .comparison import dataset_name
from .paired import INTERVAL, interval
from .table import Cell, Number, Row, Table, grouped, score_cell, text_columns

SPLIT_NAMES: dict[Split, str] = {"val": "validation", "test": "test"}
MEGABYTE = 1e6
OTHER_IMAGES = "Accuracies on other test images do not compare."


def trial_table(comparison: Comparison, name: str, limit: int | None = None) -> Table:
    """Return a row per choice of settings, best first, at most `limit`.

    Only settings that differ have a column.
    """
    differing, trials = comparison.differing, comparison.trials[:limit]
    minus = [_minus_best(comparison, trial) for trial in trials]
    notes = (INTERVAL,) if any(minus) else ()
    columns = [*text_columns("run")]
    trained = comparison.metrics[0]
    has_probe = any(trial.linear_probe(s, trained) for s in comparison.splits for trial in trials)
    for split in comparison.splits:
        heads = [
            *(LABELS[metric] for metric in comparison.metrics),
            frozen_head(comparison.metrics),
            *([_probe_head(trained)] if has_probe else []),
        ]
        columns += grouped(SPLIT_NAMES[split], heads)
    if any(minus):
        columns += grouped(
            SPLIT_NAMES[comparison.splits[0]], [f"{LABELS[comparison.metrics[-1]]} minus the first"]
        )
    columns += grouped("accuracy on", [dataset_name(name) for name in comparison.targets])
    columns += text_columns(*map(option, differing))
    columns += grouped("", ("seeds", "training, s", "parameters", "adapter, MB"))
    rows = [
        Row(
            (
                t.name,
                *_scores(comparison, t, has_probe),
                *([less] if any(minus) else []),
                *_targets(comparison, t),
                *_settings(t, differing),
                *_cost(t),
            )
        )
        for t, less in zip(trials, minus, strict=True)
    ]
    notes += (OTHER_IMAGES,) if TEST_IMAGES in differing else ()
    return Table(name, trial_title(comparison, len(trials)), tuple(columns), tuple(rows), notes)


def trial_title(comparison: Comparison, shown: int) -> str:
    """Return what is compared, and by what it is sorted."""
    total = len(comparison.trials)
    count = f"the best {shown} of {total} settings" if shown < total else f"{total} settings"
    return f"{dataset_name(comparison.dataset)}, {comparison.protocol}: {count}"


def frozen_head(metrics: Sequence[str]) -> str:
    """Return the heading of frozen CLIP's scores; without the metric where it is plain."""
    return "frozen CLIP" if "accuracy" in metrics else "frozen CLIP HM"


def sorted_by(comparison: Comparison) -> str:
    """Return a sentence on what the best is chosen by."""
    metric = LABELS[comparison.metrics[-1]]
    if comparison.targets:
        metric += " on the data set trained on"
    if comparison.splits[0] == "test":
        return (
            f"Sorted by test {metric}: do not choose settings by it, or the best one's test result "
            "flatters. Train with --test-split val to choose."
        )
    partly = any("val" not in trial.sections for trial in comparison.trials)
    rest = f"; then runs without, by test {metric}" if partly else ""
    return f"Sorted by validation {metric}, which may choose settings{rest}."


def _settings(trial: Trial, names: Sequence[str]) -> list[Cell]:
    return [value_text(trial.settings.get(name)) for name in names]


def _probe_head(metric: str) -> str:
    return "linear probe" if metric == "accuracy" else f"linear probe {LABELS[metric]}"


def _scores(comparison: Comparison, trial: Trial, has_probe: bool) -> list[Cell]:
    cells: list[Cell] = []
    for split in comparison.splits:
        for metric in comparison.metrics:
            cells.append(score_cell(trial.score(split, metric)))
        cells.append(score_cell(trial.score(split, comparison.metrics[-1], frozen=True)))
        if has_probe:  # it knows the classes trained on
            cells.append(score_cell(trial.linear_probe(split, comparison.metrics[0])))
    return cells


def _targets(comparison: Comparison, trial: Trial) -> list[Cell]:
    targets = (trial.score("test", "accuracy", target=name) for name in comparison.targets)
    return list(map(score_cell, targets))


def _minus_best(comparison: Comparison, trial: Trial) -> str | None:
    """Return the main score less the first trial's, by the seeds that both have."""
    split, metric, first = comparison.splits[0], comparison.metrics[-1], comparison.trials[0]
    if trial is first:
        return None
    best, own = (one.by_seed(split, metric) for one in (first, trial))
    return interval([own[seed] - best[seed] for seed in own if seed in best])


def _cost(trial: Trial) -> list[Cell]:
    runs, seconds = trial.runs(), trial.train_seconds()
    parameters = runs[0].result.trainable_parameters
    path = runs[0].path.with_name(ADAPTER)
    return [
        Number(len({run.result.seed for run in runs}), "count"),
        None if seconds is None else Number(seconds, "one"),
        None if parameters is None else Number(parameters, "count"),
        Number(path.stat().st_size / MEGABYTE, "one") if path.is_file() else None,
    ]
