"""How a report opens: a sentence on the runs, one small table, one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..utils.text import counted
from .document import Picture
from .figures.drawing import style_context
from .figures.results import Bar, result_dots
from .load.collect import Collected
from .load.run import FROZEN, METRICS, Series, metrics_of
from .load.sections import Score, Section
from .load.trials import Comparison
from .tables.builder import LABELS
from .tables.comparison import (
    DatasetGroup,
    dataset_groups,
    dataset_name,
    difference,
    references_for,
)
from .tables.costs import hours_of
from .tables.table import Cell, Number, Row, Table, grouped, percent, score_cell, text_columns
from .tables.trials import SPLIT_NAMES, frozen_head, sorted_by, trial_table

ROWS = 12
"""At most, of the first table and picture."""
NAME = "results"


@dataclass(frozen=True)
class Opening:
    """What a report opens with."""

    sentences: tuple[str, ...]
    table: Table
    picture: Picture | None


@dataclass(frozen=True)
class _Result:
    """One row: what it is of, and its scores."""

    words: tuple[str, str, str, str, str]
    """Protocol, model, data, method, where its settings come from."""
    method: str
    metric: str
    """What is drawn."""
    scores: dict[str, Score]
    frozen: Score | None
    published: Number | None = None
    difference: Number | None = None


def opening(collected: Collected, sections: Sequence[Section]) -> Opening:
    """Return the first sentences, table and picture of a report."""
    names = {run.result.dataset for run in collected.runs}
    names |= {name for run in collected.runs for name in run.result.targets}
    sentences = [_counts(collected, len(names))]
    if len(names) == 1 and len(collected.compared) == 1:
        (comparison,) = collected.compared
        sentences.append(sorted_by(comparison))
        table = trial_table(comparison, NAME, ROWS)
        with style_context():
            picture = trial_picture(comparison, NAME, ROWS)
        return Opening(tuple(sentences), table, picture)
    results = [_best(comparison) for comparison in collected.compared]
    compared = {(c.protocol, c.dataset) for c in collected.compared}
    plain = [section for section in sections if not section.setup.sweep] or sections
    results += [r for s in plain for r in _results(s, compared)]
    return Opening(tuple(sentences), *_table_and_picture(results))


def trial_picture(comparison: Comparison, name: str, limit: int | None = None) -> Picture | None:
    """Draw the trials as `trial_table` lists them."""
    split, metric = comparison.splits[0], comparison.metrics[-1]
    bars = []
    for trial in comparison.trials[:limit]:
        score = trial.score(split, metric)
        if score:
            frozen = trial.score(split, metric, frozen=True)
            bars.append(Bar(trial.name, score, frozen, trial.series.method))
    axis = f"{LABELS[metric]} on {SPLIT_NAMES[split]} images, %"
    return result_dots(bars, name, "Best settings first", axis)


def _counts(collected: Collected, datasets: int) -> str:
    seeds = sorted({run.result.seed for run in collected.runs if run.series != FROZEN})
    listed = f", seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}" if seeds else ""
    runs = {run.path: run for c in collected.compared for run in c.runs()}
    runs |= {run.path: run for run in collected.runs}
    return (
        f"{counted(len(runs), 'run')} on {counted(datasets, 'data set')}{listed}; "
        f"{hours_of(runs.values()):,.2f} hours of training. Made {datetime.now():%Y-%m-%d %H:%M}."
    )


def _best(comparison: Comparison) -> _Result:
    """Return the best trial of a data set."""
    best, split = comparison.trials[0], comparison.splits[0]
    found = {metric: best.score(split, metric) for metric in comparison.metrics}
    run = best.runs()[0]
    return _Result(
        (
            comparison.protocol,
            f"{run.setup.backbone} ({run.setup.pretrained})",
            dataset_name(comparison.dataset),
            f"{best.name}, best of {len(comparison.trials)} settings by {SPLIT_NAMES[split]}",
            "",
        ),
        best.series.method,
        comparison.metrics[-1],
        {metric: score for metric, score in found.items() if score},
        best.score(split, comparison.metrics[-1], frozen=True),
    )


def _results(section: Section, compared: set[tuple[str, str]]) -> list[_Result]:
    """Return all methods' averages over the paper's data sets, then those on other data sets."""
    found = list(_by_method(section, compared))
    order = list(dict.fromkeys(result.words[2] for result in found))
    return sorted(found, key=lambda result: order.index(result.words[2]))


def _by_method(section: Section, compared: set[tuple[str, str]]) -> Iterator[_Result]:
    protocol = section.setup.protocol
    metrics = metrics_of(protocol)
    points = section.points if section.setup.sweep else section.points[-1:] or ("",)
    for series in section.series:
        for point in points if series != FROZEN or len(section.series) == 1 else ():
            names = section.present(series, metrics[0], point)
            names = [name for name in names if (protocol, name) not in compared]
            groups = dataset_groups(section, names)
            averaged = groups[0].datasets if groups and groups[0].role == "average" else ()
            for group in groups:
                if group.role == "average" or group.datasets[0] not in averaged:
                    yield _result(section, series, group, metrics, point)


def _result(
    section: Section, series: Series, group: DatasetGroup, metrics: Sequence[str], point: str
) -> _Result:
    setup, names = section.setup, group.datasets
    found = {metric: section.average(series, names, metric, point) for metric in metrics}
    scores = {metric: score for metric, score in found.items() if score}
    label = section.label(series)
    if setup.sweep:
        label += f", {setup.sweep} {point}"
    theirs = minus = None
    for ref in references_for(section, series, setup.sweep or setup.protocol)[:1]:
        average = ref.average(setup.protocol, series.method, names, metrics[-1], point)
        theirs = percent(average)
        minus = difference(section, series, names, metrics[-1], theirs, point)
    return _Result(
        (
            _protocol(section, point),
            f"{setup.backbone} ({setup.pretrained})",
            group.label,
            label,
            f"{series.settings_source} settings" if series.settings_source else "",
        ),
        series.method,
        metrics[-1],
        scores,
        section.average(FROZEN, names, metrics[-1]),
        theirs if minus else None,
        minus,
    )


def _protocol(section: Section, point: str) -> str:
    setup = section.setup
    shots = point if setup.protocol == "few-shot" else setup.shots
    source = f" from {dataset_name(setup.source)}" if setup.source else ""
    return setup.protocol + source + (f", {counted(shots, 'shot')}" if shots else "")


def _table_and_picture(results: Sequence[_Result]) -> tuple[Table, Picture | None]:
    """Return the rows; what is the same in all of them is in the title."""
    shown = results[:ROWS]
    heads = ("protocol", "model", "data", "method", "settings")
    values = [list(dict.fromkeys(r.words[i] for r in results if r.words[i])) for i in range(5)]
    same = [len(found) < 2 and head != "method" for found, head in zip(values, heads, strict=True)]
    title = ", ".join(found[0] for found, s in zip(values, same, strict=True) if s and found)
    metrics = [m for m in (*METRICS, "accuracy") if any(m in r.scores for r in shown)]
    axis = " or ".join(dict.fromkeys(LABELS[result.metric] for result in shown))
    compare, frozen = any(r.published for r in shown), any(r.frozen for r in shown)
    rows, bars = [], []
    for result in shown:
        words = [w for w, s in zip(result.words, same, strict=True) if not s]
        found = [result.scores.get(metric) for metric in metrics]
        cells: list[Cell] = [score_cell(score) for score in found]
        cells += [score_cell(result.frozen if result.metric in result.scores else None)] * frozen
        if compare:
            cells += [result.published, result.difference]
        rows.append(Row((*words, *cells)))
        if result.metric in result.scores:
            score = result.scores[result.metric]
            name = ", ".join(filter(None, words))
            bars.append(Bar(name, score, result.frozen, result.method))
    columns = text_columns(*(h for h, s in zip(heads, same, strict=True) if not s))
    numbers = [*(LABELS[m] for m in metrics), *[frozen_head(metrics)] * frozen]
    numbers += ["published", "difference"] if compare else []
    notes = (
        () if len(shown) == len(results) else (f"{len(results)} rows in all, see the sections.",)
    )
    title = title or "Results"
    with style_context():
        picture = result_dots(
            bars, NAME, f"{axis[:1].upper()}{axis[1:]} next to frozen CLIP", f"{axis}, %"
        )
    table = Table(NAME, title, (*columns, *grouped("", numbers)), tuple(rows), notes)
    return table, picture
