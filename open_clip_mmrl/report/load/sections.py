"""A section of a report: runs that may be compared, and their scores.

The runs of a section share protocol, backbone, weights, test split, source and sweep, and the
number of shots (but for few-shot, which varies it). A series is one method with settings from one
source. A point is the number of shots of few-shot, or the value that an ablation varies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import NamedTuple

from ...evaluation.metrics import harmonic_mean
from .run import FROZEN, METHODS, Run, Series, Setup

HARMONIC = {
    "hm": ("base", "novel"),
    "generalized_hm": ("generalized_seen", "generalized_unseen"),
}


@dataclass(frozen=True)
class Score:
    """Mean over seeds, and the sample standard deviation (n - 1) where there are several."""

    mean: float
    std: float | None
    seeds: int


class ScoreKey(NamedTuple):
    """What a score stands for."""

    series: Series
    point: str
    dataset: str
    metric: str


@dataclass(frozen=True)
class Section:
    """Runs of one setup, and their scores in percent by seed."""

    setup: Setup
    runs: tuple[Run, ...]
    series: tuple[Series, ...]
    datasets: tuple[str, ...]
    """In the paper's order, then by name; the targets of transfer, not its source."""
    points: tuple[str, ...]
    """("",) where nothing is varied; empty where only frozen CLIP was run."""
    splits: Mapping[str, bool | None]
    """Whether a data set is split as the paper's; None where it is none of the paper's."""
    values: Mapping[ScoreKey, Mapping[int, float]]

    def score(self, series: Series, dataset: str, metric: str, point: str = "") -> Score | None:
        """Return the score on one data set, over the seeds there are."""
        return self.average(series, [dataset], metric, point)

    def average(
        self, series: Series, datasets: Sequence[str], metric: str, point: str = ""
    ) -> Score | None:
        """Return the mean over data sets of their means over seeds; None unless all have one.

        HM is that of the mean accuracies, as in the paper. The deviation is that of the seeds'
        own averages, over the seeds that all data sets have.
        """
        found = [self._by_seed(series, dataset, metric, point) for dataset in datasets]
        if not found or not all(found):
            return None
        by_seed = self.by_seed(series, datasets, metric, point)
        return Score(
            mean=self._mean(series, datasets, metric, point),
            std=stdev(by_seed.values()) if len(by_seed) > 1 else None,
            seeds=min(map(len, found)),
        )

    def by_seed(
        self, series: Series, datasets: Sequence[str], metric: str, point: str = ""
    ) -> dict[int, float]:
        """Return the averages over data sets, of the seeds that all of them have."""
        found = [self._by_seed(series, dataset, metric, point) for dataset in datasets]
        seeds = set.intersection(*map(set, found)) if found else ()
        return {seed: self._mean(series, datasets, metric, point, seed) for seed in sorted(seeds)}

    def differences(
        self,
        series: Series,
        other: Series,
        datasets: Sequence[str],
        metric: str,
        point: str = "",
    ) -> list[float]:
        """Return the averages over data sets less another series', by the seeds that both have.

        Frozen CLIP has the same score with every seed.
        """
        ours, theirs = (self.by_seed(one, datasets, metric, point) for one in (series, other))
        if other == FROZEN and theirs:
            theirs = dict.fromkeys(ours, *theirs.values())
        return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]

    def present(
        self, series: Series, metric: str, point: str = "", among: Iterable[str] = ()
    ) -> list[str]:
        """Return the data sets that a series has this score of."""
        names = list(among) or self.datasets
        return [name for name in names if self._by_seed(series, name, metric, point)]

    def seeds(self, series: Series) -> int:
        """Return how many seeds the series has where it has most."""
        return max((len(v) for key, v in self.values.items() if key.series == series), default=0)

    def label(self, series: Series) -> str:
        """Return the method's title, with what distinguishes it from others of that title here."""
        alike = [other for other in self.series if other.method == series.method]
        differences = []
        if len({other.settings_source for other in alike}) > 1:
            differences.append(series.settings_source or "settings not recorded")
        if len({other.fusion for other in alike}) > 1:
            differences.append(f"mixing {series.fusion}")
        name = METHODS.get(series.method, series.method)
        return f"{name} ({', '.join(differences)})" if differences else name

    def _by_seed(
        self, series: Series, dataset: str, metric: str, point: str
    ) -> Mapping[int, float]:
        if metric not in HARMONIC:
            point = "" if series == FROZEN else point  # frozen CLIP has no shots or settings
            return self.values.get(ScoreKey(series, point, dataset, metric), {})
        first, second = (self._by_seed(series, dataset, m, point) for m in HARMONIC[metric])
        return {s: harmonic_mean(first[s], second[s]) for s in first if s in second}

    def _mean(
        self,
        series: Series,
        datasets: Sequence[str],
        metric: str,
        point: str,
        seed: int | None = None,
    ) -> float:
        """Return the mean over data sets, of one seed or of their means over seeds."""
        if metric in HARMONIC:
            parts = [self._mean(series, datasets, m, point, seed) for m in HARMONIC[metric]]
            return harmonic_mean(*parts)
        found = (self._by_seed(series, dataset, metric, point) for dataset in datasets)
        return mean(mean(v.values()) if seed is None else v[seed] for v in found)
