"""Sorting runs into the sections of a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .published import published
from .run import PROTOCOLS, SWEEPS, TRANSFER, ZERO_SHOT, Run
from .sections import FROZEN, METHODS, Frame, Section, Series, series_of


def arrange(runs: Sequence[Run]) -> list[Section]:
    """All sections, in the order of the paper's protocols."""
    groups: dict[Frame, list[Run]] = {}
    for run in runs:
        if run.method != ZERO_SHOT:
            groups.setdefault(_frame(run), []).append(run)
    for run in runs:  # frozen CLIP has no shots, so it belongs to each of several groups
        if run.method == ZERO_SHOT:
            homes = [frame for frame in groups if frame[:5] == _frame(run)[:5]]
            for frame in homes or [_frame(run)]:
                groups.setdefault(frame, []).append(run)
    order = sorted(groups, key=lambda frame: (*_rank(frame), str(frame)))
    return [_section(frame, groups[frame]) for frame in order]


def in_order(names: Iterable[str]) -> list[str]:
    """Data sets in the paper's order, then others by name."""
    known = list(published().datasets)
    names = set(names)
    return [n for n in known if n in names] + sorted(names - set(known))


def _frame(run: Run) -> Frame:
    return Frame(
        run.protocol,
        run.backbone,
        run.pretrained,
        run.test_split,
        run.dataset if run.protocol in TRANSFER else None,
        run.shots if run.protocol != "few-shot" else None,
        run.sweep,
    )


def _rank(frame: Frame) -> tuple[int, int]:
    sweep = SWEEPS.index(frame.sweep) if frame.sweep else -1
    return PROTOCOLS.index(frame.protocol), sweep


def _section(frame: Frame, runs: Sequence[Run]) -> Section:
    values: dict[tuple, dict[int, float]] = {}
    series: dict[Series, None] = {}
    # The frozen model's own runs first: what other runs say about it only fills gaps.
    for run in sorted(runs, key=lambda run: run.method != ZERO_SHOT):
        one = series_of(run)
        series[one] = None
        for dataset, metric, adapted, frozen in _entries(run):
            if adapted is not None:
                seed = 0 if one == FROZEN else run.seed
                values.setdefault((one, _point(run), dataset, metric), {})[seed] = adapted
            if frozen is not None and frame.protocol != "ablation":
                values.setdefault((FROZEN, None, dataset, metric), {0: frozen})
                series[FROZEN] = None
    known = list(METHODS)
    ranked = sorted(series, key=lambda s: known.index(s.method) if s.method in known else 99)
    names = {name for run in runs for name in (run.targets or [run.dataset])}
    return Section(
        frame=frame,
        runs=tuple(runs),
        series=tuple(ranked),
        datasets=tuple(in_order(names)),
        points=_points(frame, runs),
        splits=_splits(runs),
        values=values,
    )


def _splits(runs: Sequence[Run]) -> dict[str, bool | None]:
    """Whether each data set is split as the paper's: only where every run says so."""
    found: dict[str, set[bool | None]] = {}
    for run in runs:
        found.setdefault(run.dataset, set()).add(run.paper_split)
        for name, target in run.targets.items():
            if not target.missing:
                found.setdefault(name, set()).add(target.paper_split)
    return {name: min(said, key=(False, None, True).index) for name, said in found.items()}


def _entries(run: Run) -> Iterator[tuple[str, str, float | None, float | None]]:
    """(data set, metric, ours, frozen) of everything a run measured."""
    for metric in {**run.scores, **run.zero_shot}:
        yield run.dataset, metric, run.scores.get(metric), run.zero_shot.get(metric)
    for name, target in run.targets.items():
        yield name, "accuracy", target.accuracy, target.zero_shot


def _point(run: Run) -> str | None:
    if run.method == ZERO_SHOT:
        return None
    return str(run.shots) if run.protocol == "few-shot" else run.value


def _points(frame: Frame, runs: Sequence[Run]) -> tuple[str | None, ...]:
    """Numbers by size, words in print's order and then by name."""
    found = {_point(run) for run in runs if run.method != ZERO_SHOT}
    printed = published().points_of(frame.sweep or frame.protocol)
    return tuple(sorted(found, key=lambda point: point_rank(point, printed)))


def point_rank(point: str | None, printed: Sequence[str | None]) -> tuple:
    """A key to sort points by."""
    try:
        return 0, float(point), ""
    except (TypeError, ValueError):
        return 1, printed.index(point) if point in printed else len(printed), str(point)
