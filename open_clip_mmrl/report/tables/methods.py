"""Methods next to each other on one data set, as the demo shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from ...experiments.results import RunResult
from ..load.arrange import arrange
from ..load.run import METHODS, Series, run_of
from ..load.sections import Score, Section


@dataclass(frozen=True)
class MethodRow:
    """One method over its seeds; accuracies in percent."""

    method: str
    base: Score
    novel: Score
    hm: Score
    parameters: int
    train_ms: float | None
    """Milliseconds per image, of training and of testing; None where they were not measured."""
    eval_ms: float | None


def method_rows(results: Sequence[RunResult]) -> list[MethodRow]:
    """Return frozen CLIP first, then every method, of base-to-novel runs on one data set.

    Raises:
        ValueError: runs of other protocols, or that differ in more than method and seed.
    """
    sections = arrange([run_of(result, Path(), {}) for result in results])
    if len(sections) != 1 or sections[0].setup.protocol != "base-to-novel":
        raise ValueError("these are not base-to-novel runs that differ in method and seed only.")
    (section,) = sections
    rows = (_row(section, series) for series in section.series)
    return [row for row in rows if row]


def _row(section: Section, series: Series) -> MethodRow | None:
    base, novel, hm = (
        section.average(series, section.datasets, m) for m in ("base", "novel", "hm")
    )
    if base is None or novel is None or hm is None:
        return None
    results = [run.result for run in section.runs if run.series == series]
    train_ms = [r.train_ms_per_image for r in results if r.train_ms_per_image is not None]
    speeds = [r.eval_images_per_second for r in results if r.eval_images_per_second]
    return MethodRow(
        method=METHODS[series.method],
        base=base,
        novel=novel,
        hm=hm,
        parameters=max((r.trainable_parameters or 0 for r in results), default=0),
        train_ms=mean(train_ms) if train_ms else None,
        eval_ms=mean(1000 / speed for speed in speeds) if speeds else None,
    )
