"""Runs of one data set with different settings, side by side.

A trial is one choice of settings: its runs differ in the seed, and in whether the validation or
the test images were scored.
"""

from __future__ import annotations

import json
import os.path
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Literal

from ...utils.text import listing
from .arrange import arrange
from .run import FROZEN, Run, Series, metrics_of
from .sections import Score, Section
from .settings import Settings, differing

Split = Literal["val", "test"]
SPLITS: tuple[Split, ...] = ("val", "test")


@dataclass(frozen=True)
class Trial:
    """The runs of one choice of settings."""

    name: str
    """The first folder, and the number of others."""
    settings: Settings
    sections: Mapping[Split, Section]
    """The runs by the split they were tested on."""

    @property
    def series(self) -> Series:
        """The series of all runs."""
        return self.runs()[0].series

    def runs(self) -> tuple[Run, ...]:
        """Return all runs, first those tested on validation images."""
        return tuple(run for split in SPLITS for run in self._section_runs(split))

    def score(
        self, split: Split, metric: str, frozen: bool = False, target: str = ""
    ) -> Score | None:
        """Return the score over seeds, or that of frozen CLIP; of a transfer run's target too."""
        if split not in self.sections:
            return None
        section, run = self.sections[split], self.sections[split].runs[0]
        series, point = (FROZEN, "") if frozen else (run.series, run.point)
        return section.score(series, target or run.result.dataset, metric, point)

    def by_seed(self, split: Split, metric: str) -> Mapping[int, float]:
        """Return the score of every seed."""
        if split not in self.sections:
            return {}
        section, run = self.sections[split], self.sections[split].runs[0]
        return section.by_seed(run.series, [run.result.dataset], metric, run.point)

    def linear_probe(self, split: Split, metric: str) -> Score | None:
        """Return the score, over seeds, of the linear probes that `train` fitted next to it."""
        found = (run.result.linear_probe.get(metric) for run in self._section_runs(split))
        scores = [score for score in found if score is not None]
        if not scores:
            return None
        return Score(mean(scores), stdev(scores) if len(scores) > 1 else None, len(scores))

    def train_seconds(self) -> float | None:
        """Return the mean time of training."""
        found = [run.train_seconds for run in self.runs() if run.train_seconds is not None]
        return mean(found) if found else None

    def _section_runs(self, split: Split) -> tuple[Run, ...]:
        return self.sections[split].runs if split in self.sections else ()


@dataclass(frozen=True)
class Comparison:
    """The trials on one data set, best first."""

    dataset: str
    protocol: str
    trials: tuple[Trial, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics; the last is the one that trials are sorted by."""
        return metrics_of(self.protocol)

    @property
    def splits(self) -> tuple[Split, ...]:
        """What was scored, of validation and test images; trials are sorted by the first."""
        return tuple(s for s in SPLITS if any(s in trial.sections for trial in self.trials))

    @property
    def targets(self) -> list[str]:
        """The data sets that transfer runs were tested on without training on them."""
        return list(dict.fromkeys(name for run in self.runs() for name in run.result.targets))

    @property
    def differing(self) -> list[str]:
        """The names of the settings that are not the same in all trials."""
        return differing(trial.settings for trial in self.trials)

    def runs(self) -> Iterator[Run]:
        """Yield the runs of all trials."""
        for trial in self.trials:
            yield from trial.runs()


def compare(runs: Sequence[Run], rivals: Sequence[Run]) -> list[Comparison]:
    """Return a comparison for every data set and protocol where runs do not form a protocol alone.

    That is where runs were given by hand, by `train`, or where there are `rivals`: runs with other
    settings in the place of others. Ablations compare their runs themselves.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.series != FROZEN and not run.setup.sweep:
            groups.setdefault((run.result.dataset, run.setup.protocol), []).append(run)
    found = []
    for (dataset, protocol), group in groups.items():
        by_hand = any(run.series.settings_source == "custom" for run in group)
        trials = _trials(group) if by_hand or any(run in rivals for run in group) else []
        if len(trials) > 1:
            found.append(Comparison(dataset, protocol, _sorted(trials, metrics_of(protocol)[-1])))
    return found


def _trials(runs: Sequence[Run]) -> list[Trial]:
    groups: dict[str, dict[tuple[str, int], Run]] = {}
    for run in runs:
        key = json.dumps(run.settings, sort_keys=True)
        groups.setdefault(key, {}).setdefault((run.setup.test_split, run.result.seed), run)
    common = os.path.commonpath([run.path.parent.absolute().parent for run in runs])
    trials = []
    for group in groups.values():
        found = list(group.values())
        sections: dict[Split, Section] = {}
        for split in SPLITS:
            tested = [run for run in found if run.setup.test_split == split]
            if tested:
                (sections[split],) = arrange(tested)
        trials.append(Trial(_name(found, Path(common)), found[0].settings, sections))
    return trials


def _name(runs: Sequence[Run], common: Path) -> str:
    return listing((run.path.parent.absolute().relative_to(common) for run in runs), 1)


def _sorted(trials: Sequence[Trial], metric: str) -> tuple[Trial, ...]:
    """Return the best first: by validation, then those without it by test."""

    def rank(trial: Trial) -> list[float]:
        scores = (trial.score(split, metric) for split in SPLITS)
        return [-score.mean if score else 1.0 for score in scores]

    return tuple(sorted(trials, key=rank))
