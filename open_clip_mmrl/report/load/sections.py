"""What stands in a report's sections: series, and their scores.

A section holds what may be compared: one protocol, backbone, weights, test part, number of shots
(but for few-shot, which varies it), source and sweep. A series is one method with settings from
one source. A point is the shots of few-shot, or the value that an ablation varies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import NamedTuple

from ...evaluation.metrics import harmonic_mean
from .run import ZERO_SHOT, Run

METHODS = {
    ZERO_SHOT: "zero-shot CLIP",
    "linear_probe": "linear probe",
    "mmrl": "MMRL",
    "mmrl++": "MMRL++",
}
SETTINGS = {
    "paper": "paper (per data set, chosen by its authors on test accuracy)",
    "fixed": "fixed (one for all data sets)",
    "validation": "validation (lambda, beta, alpha chosen on held-out training shots of each run)",
    "custom": "custom (given by hand)",
    "demo": "demo (chosen for the shipped demo)",
    None: "not recorded",
}
HARMONIC = {
    "hm": ("base", "novel"),
    "generalized_hm": ("generalized_seen", "generalized_unseen"),
}


class Series(NamedTuple):
    """One method with settings from one source."""

    method: str
    settings: str | None = None
    fusion: str | None = None


FROZEN = Series(ZERO_SHOT)


def series_of(run: Run) -> Series:
    return Series(run.method, run.settings, run.fusion)


@dataclass(frozen=True)
class Score:
    """Mean over seeds, and the sample standard deviation (n - 1) where there are several."""

    mean: float
    std: float | None
    seeds: int


class Frame(NamedTuple):
    """What all runs of a section share; `shots`, `source` and `sweep` only where they matter."""

    protocol: str
    backbone: str
    pretrained: str
    test_split: str
    source: str | None
    shots: int | None
    sweep: str | None


@dataclass(frozen=True)
class Section:
    """One section's runs, and their scores by (series, point, data set, metric) and seed."""

    frame: Frame
    runs: tuple[Run, ...]
    series: tuple[Series, ...]
    datasets: tuple[str, ...]
    """In the paper's order, then by name; the targets of transfer, not its source."""
    points: tuple[str | None, ...]
    splits: Mapping[str, bool | None]
    """Whether a data set is split as the paper's."""
    values: Mapping[tuple, Mapping[int, float]]

    def score(
        self, series: Series, dataset: str, metric: str, point: str | None = None
    ) -> Score | None:
        """Over the seeds there are. HM is that of the mean accuracies, as in print."""
        return self.average(series, [dataset], metric, point)

    def average(
        self, series: Series, datasets: Sequence[str], metric: str, point: str | None = None
    ) -> Score | None:
        """Mean over data sets of their means over seeds; None unless all of them are there.

        HM is that of the averages. The deviation is that of the seeds' own averages.
        """
        point = None if series == FROZEN else point
        found = [self._by_seed(series, dataset, metric, point) for dataset in datasets]
        if not found or not all(found):
            return None
        everywhere = set.intersection(*map(set, found))
        if metric in HARMONIC:
            halves = [self.average(series, datasets, m, point) for m in HARMONIC[metric]]
            value = harmonic_mean(*(half.mean for half in halves))
            per_seed = [self._harmonic(series, datasets, metric, point, s) for s in everywhere]
        else:
            value = mean(mean(values.values()) for values in found)
            per_seed = [mean(values[seed] for values in found) for seed in everywhere]
        std = stdev(per_seed) if len(per_seed) > 1 else None
        return Score(value, std, min(map(len, found)))

    def present(
        self, series: Series, metric: str, point: str | None = None, among: Iterable[str] = ()
    ) -> list[str]:
        """The data sets that a series has this score of."""
        names = list(among) or self.datasets
        return [name for name in names if self.score(series, name, metric, point)]

    def seeds(self, series: Series) -> int:
        """How many seeds the series has where it has most."""
        return max((len(v) for key, v in self.values.items() if key[0] == series), default=0)

    def label(self, series: Series) -> str:
        """The method's name, with what tells it from others of that name here."""
        alike = [other for other in self.series if other.method == series.method]
        name = METHODS.get(series.method, series.method)
        told = []
        if len({other.settings for other in alike}) > 1:
            told.append(series.settings or "settings not recorded")
        if len({other.fusion for other in alike}) > 1:
            told.append(f"mixing {series.fusion}")
        return f"{name} ({', '.join(told)})" if told else name

    def _by_seed(
        self, series: Series, dataset: str, metric: str, point: str | None
    ) -> Mapping[int, float]:
        if metric not in HARMONIC:
            return self.values.get((series, point, dataset, metric), {})
        halves = [self._by_seed(series, dataset, m, point) for m in HARMONIC[metric]]
        return {s: harmonic_mean(halves[0][s], halves[1][s]) for s in halves[0] if s in halves[1]}

    def _harmonic(self, series, datasets, metric, point, seed) -> float:
        return harmonic_mean(
            *(
                mean(self._by_seed(series, name, half, point)[seed] for name in datasets)
                for half in HARMONIC[metric]
            )
        )
