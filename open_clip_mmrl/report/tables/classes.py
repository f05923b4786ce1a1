"""Tables of single classes: the worst and the best ones, and all of them."""

from __future__ import annotations

from statistics import mean, median

from ...utils.text import decimal
from ..load.run import Series
from ..load.sections import Section
from .comparison import dataset_name
from .table import Column, Number, Row, Table, file_name, grouped, text_columns

EXTREMES = 3
"""Worst and best classes that are named."""
Accuracies = dict[str, dict[str, float]]
"""Percent by split of the classes ("base", "novel", "all") and class name."""


def class_tables(section: Section, slug: str) -> list[Table]:
    """Return the worst and best classes of every data set, then a folded table of each."""
    rows, folded = [], []
    for series in section.series:
        for name in section.datasets:
            for split, classes in _accuracies(section, series, name).items():
                head = (dataset_name(name), section.label(series), split)
                rows.append(Row((*head, *_extremes(classes))))
    for name in section.datasets:
        found = {series: _accuracies(section, series, name) for series in section.series}
        found = {section.label(series): splits for series, splits in found.items() if splits}
        if found:
            folded.append(_all_classes(name, found, f"{slug}-classes-{file_name(name)}"))
    if not rows:
        return []
    columns = (*text_columns("data set", "method", "classes", "worst", "best"), Column("median"))
    title = "Single classes: worst and best, accuracy in %"
    return [Table(f"{slug}-classes", title, columns, tuple(rows)), *folded]


def _extremes(classes: dict[str, float]) -> tuple[str, str, Number]:
    """Return the worst classes, the best ones, and the median."""
    ranked = sorted(classes, key=lambda name: (classes[name], name))
    count = min(EXTREMES, len(ranked) // 2)
    worst = ", ".join(f"{name} {decimal(classes[name], 1)}" for name in ranked[:count])
    best = ", ".join(f"{name} {decimal(classes[name], 1)}" for name in ranked[::-1][:count])
    return worst, best, Number(median(classes.values()), "one")


def _all_classes(dataset: str, found: dict[str, Accuracies], slug: str) -> Table:
    keys = dict.fromkeys(
        (split, name)
        for splits in found.values()
        for split, classes in splits.items()
        for name in classes
    )
    rows = []
    for split, name in keys:
        values = [splits.get(split, {}).get(name) for splits in found.values()]
        cells = (None if value is None else Number(value, "one") for value in values)
        rows.append(Row((name, split, *cells)))
    columns = (*text_columns("class", "classes"), *grouped("", list(found)))
    title = f"{dataset_name(dataset)}: all {len(rows)} classes, accuracy in %"
    return Table(slug, title, columns, tuple(rows), folded=True)


def _accuracies(section: Section, series: Series, dataset: str) -> Accuracies:
    """Return means over seeds; of few-shot runs, those with most shots."""
    gathered: dict[str, dict[str, list[float]]] = {}
    for run in section.runs:
        if (run.series, run.result.dataset) != (series, dataset):
            continue
        most = section.points[-1:]  # none where only frozen CLIP was scored
        if section.setup.protocol == "few-shot" and most and run.point != most[0]:
            continue
        for split, classes in run.result.per_class.items():
            for name, value in classes.items():
                if value is not None:
                    gathered.setdefault(split, {}).setdefault(name, []).append(value)
    return {
        split: {name: mean(values) for name, values in classes.items()}
        for split, classes in gathered.items()
    }
