"""Sort runs into the sections of a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ...config import PROTOCOLS, SWEEP_NAMES
from .published import published
from .run import FROZEN, METHODS, Run, Series, Setup
from .sections import ScoreKey, Section


def arrange(runs: Sequence[Run]) -> list[Section]:
    """Return all sections, in the order of the paper's protocols."""
    groups: dict[Setup, list[Run]] = {}
    for run in runs:
        if run.series != FROZEN:
            groups.setdefault(run.setup, []).append(run)
    for run in runs:  # frozen CLIP has no shots, so it belongs to each of several groups
        if run.series == FROZEN:
            for setup in [s for s in groups if s[:5] == run.setup[:5]] or [run.setup]:
                groups.setdefault(setup, []).append(run)
    order = sorted(groups, key=lambda setup: (*_rank(setup), str(setup)))
    return [_section(setup, groups[setup]) for setup in order]


def point_rank(point: str, published_points: Sequence[str]) -> tuple[int, float, str]:
    """Return a key to sort points by: numbers by size, words in the paper's order, then by name."""
    try:
        return 0, float(point), ""
    except ValueError:
        known = point in published_points
        return 1, published_points.index(point) if known else len(published_points), point


def _rank(setup: Setup) -> tuple[int, int]:
    sweeps = ("", *SWEEP_NAMES)
    return PROTOCOLS.index(setup.protocol), sweeps.index(setup.sweep)


def _section(setup: Setup, runs: Sequence[Run]) -> Section:
    values: dict[ScoreKey, dict[int, float]] = {}
    series: dict[Series, None] = {}
    # The frozen model's own runs first: what other runs measured of it only fills gaps.
    for run in sorted(runs, key=lambda run: run.series != FROZEN):
        series[run.series] = None
        seed = 0 if run.series == FROZEN else run.result.seed
        for dataset, metric, adapted, frozen in _entries(run):
            if adapted is not None:
                key = ScoreKey(run.series, run.point, dataset, metric)
                values.setdefault(key, {})[seed] = adapted
            if frozen is not None and setup.protocol != "ablation":
                values.setdefault(ScoreKey(FROZEN, "", dataset, metric), {0: frozen})
                series[FROZEN] = None
    known = list(METHODS)
    points = {run.point for run in runs if run.series != FROZEN}
    published_points = published().points_of(setup.sweep or setup.protocol)
    return Section(
        setup=setup,
        runs=tuple(runs),
        series=tuple(
            sorted(series, key=lambda s: known.index(s.method) if s.method in known else len(known))
        ),
        datasets=_in_order(
            name for run in runs for name in run.result.targets or [run.result.dataset]
        ),
        points=tuple(sorted(points, key=lambda point: point_rank(point, published_points))),
        splits=_splits(runs),
        values=values,
    )


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return data sets in the paper's order, then others by name."""
    known = list(published().datasets)
    found = set(names)
    return (*(n for n in known if n in found), *sorted(found - set(known)))


def _splits(runs: Sequence[Run]) -> dict[str, bool | None]:
    """Return whether each data set is split as the paper's, as the least certain run has it."""
    found: dict[str, set[bool | None]] = {}
    for run in runs:
        found.setdefault(run.result.dataset, set()).add(run.paper_split)
        for name, target in run.result.targets.items():
            if not target.missing:
                split = target.sizes.paper_split if target.sizes else None
                found.setdefault(name, set()).add(split)
    return {name: min(splits, key=(False, None, True).index) for name, splits in found.items()}


def _entries(run: Run) -> Iterator[tuple[str, str, float | None, float | None]]:
    """Yield all scores: (data set, metric, the method's score, frozen CLIP's score)."""
    for metric in {**run.scores, **run.frozen_scores}:
        yield run.result.dataset, metric, run.scores.get(metric), run.frozen_scores.get(metric)
    for name, target in run.result.targets.items():
        yield name, "accuracy", target.accuracy, target.zero_shot
