"""Tables beyond the paper's: generalized accuracy, calibration, single classes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median

from ..load.sections import FROZEN, Section, Series, series_of
from .compared import dataset_name, marked, places, settings_notes
from .grid import Column, Notes, Number, Row, Table, file_name, grouped

EXTREMES = 3
"""Worst and best classes that are named."""

_GENERALIZED = {
    "generalized_seen": "seen",
    "generalized_unseen": "unseen",
    "generalized_hm": "HM",
}
_ECE = {"ece_base": "base", "ece_novel": "novel", "ece_accuracy": "all classes"}


def quality_tables(section: Section, slug: str) -> list[Table]:
    """What there is of them for this section."""
    generalized = _scores(
        section,
        f"{slug}-generalized",
        "Generalized accuracy: base and novel classes in one classifier",
        _GENERALIZED,
        "seen, unseen: accuracy on images of base and of novel classes, told apart from all "
        "classes at once, by logits: base classes by both features mixed, novel ones by the class "
        "feature; HM: their harmonic mean.",
    )
    calibration = _scores(
        section,
        f"{slug}-calibration",
        "Calibration: expected calibration error",
        _ECE,
        "Percent, 15 bins of confidence; 0 is perfect, so lower is better.",
    )
    found = [table for table in (generalized, calibration) if table]
    return [*found, *_classes(section, slug)]


def _scores(
    section: Section, name: str, title: str, metrics: dict[str, str], explanation: str
) -> Table | None:
    """A row per data set, a group of columns per method; only methods that have any of it."""
    notes = Notes()
    notes.add(explanation)
    pairs = [
        (series, metric)
        for series in section.series
        for metric in metrics
        if section.present(series, metric, _point(section, series))
    ]
    if not pairs:
        return None
    names = [
        name
        for name in section.datasets
        if any(section.score(s, name, m, _point(section, s)) for s, m in pairs)
    ]
    rows = tuple(
        Row(
            (
                place.label,
                *(
                    marked(section, series, place, metric, notes, _point(section, series))
                    for series, metric in pairs
                ),
            ),
            place.role,
        )
        for place in places(section, names)
    )
    settings_notes(section, notes, dict.fromkeys(series for series, _ in pairs))
    if section.frame.protocol == "few-shot":
        notes.add(f"With {_point(section, None)} shots, the most there are.")
    columns = [Column("data set", text=True)]
    for series, metric in pairs:
        columns += grouped(section.label(series), [metrics[metric]])
    return Table(name, title, tuple(columns), rows, notes.all())


def _point(section: Section, series: Series | None) -> str | None:
    """Few-shot runs speak with most shots; elsewhere there is one point."""
    return None if series == FROZEN else section.points[-1] if section.points else None


def _classes(section: Section, slug: str) -> list[Table]:
    """The worst and best classes of every data set, then a folded table of all of them."""
    extremes, folded = [], []
    for series in section.series:
        for name in section.datasets:
            for half, classes in _per_class(section, series, name).items():
                ranked = sorted(classes, key=lambda c: (classes[c], c))
                shown = min(EXTREMES, len(ranked) // 2)
                head = (dataset_name(name), section.label(series), half)
                worst = ", ".join(f"{c} {classes[c]:.1f}" for c in ranked[:shown])
                best = ", ".join(f"{c} {classes[c]:.1f}" for c in ranked[::-1][:shown])
                middle = Number(median(classes.values()), "one")
                extremes.append(Row((*head, worst, best, middle)))
    for name in section.datasets:
        table = _all_classes(section, name, f"{slug}-classes-{file_name(name)}")
        if table:
            folded.append(table)
    if not extremes:
        return []
    texts = ("data set", "method", "classes", "worst", "best")
    columns = (*(Column(text, text=True) for text in texts), Column("median"))
    title = "Single classes: worst and best, accuracy in %"
    return [Table(f"{slug}-classes", title, columns, tuple(extremes)), *folded]


def _all_classes(section: Section, name: str, slug: str) -> Table | None:
    found = {series: _per_class(section, series, name) for series in section.series}
    found = {series: halves for series, halves in found.items() if halves}
    keys = dict.fromkeys(
        (half, label)
        for halves in found.values()
        for half, classes in halves.items()
        for label in classes
    )
    rows = []
    for half, label in keys:
        values = [halves.get(half, {}).get(label) for halves in found.values()]
        cells = (None if value is None else Number(value, "one") for value in values)
        rows.append(Row((label, half, *cells)))
    if not rows:
        return None
    columns = (
        Column("class", text=True),
        Column("classes", text=True),
        *grouped("", [section.label(series) for series in found]),
    )
    title = f"{dataset_name(name)}: all {len(rows)} classes, accuracy in %"
    return Table(slug, title, columns, tuple(rows), folded=True)


def _per_class(section: Section, series: Series, name: str) -> dict[str, dict[str, float]]:
    """Means over seeds by half and class."""
    point = _point(section, series)
    runs = [
        run
        for run in section.runs
        if series_of(run) == series
        and run.dataset == name
        and (section.frame.protocol != "few-shot" or str(run.shots) == point)
    ]
    gathered: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        for half, classes in run.per_class.items():
            for label, value in classes.items():
                gathered.setdefault(half, {}).setdefault(label, []).append(value)
    return {
        half: {label: mean(values) for label, values in classes.items()}
        for half, classes in gathered.items()
    }


def alpha_curve(
    section: Section, series: Series, names: Sequence[str]
) -> list[tuple[float, float, float]]:
    """(alpha, base, novel): means over seeds, then over data sets; empty unless all have it."""
    per_dataset = []
    for name in names:
        points: dict[float, list[tuple[float, float]]] = {}
        for run in section.runs:
            same = series_of(run) == series
            for alpha, base, novel in run.alpha_curve if same and run.dataset == name else ():
                points.setdefault(alpha, []).append((base, novel))
        per_dataset.append({a: [mean(x) for x in zip(*v, strict=True)] for a, v in points.items()})
    alphas = set.intersection(*map(set, per_dataset)) if per_dataset else set()
    return [
        (alpha, *(mean(points[alpha][i] for points in per_dataset) for i in (0, 1)))
        for alpha in sorted(alphas)
    ]
