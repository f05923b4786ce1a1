"""Figures of others, beside which ours stand: the paper's, and an independent rerun's.

The numbers lie in published.json and rerun.json beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from ...evaluation.metrics import harmonic_mean

AVERAGE = "average"
OURS = {"clip": "zeroshot", "linear_probe_clip": "linear_probe"}
"""Our name of a method in the files, where it is another."""


@dataclass(frozen=True)
class Reference:
    """Figures of one source, all of one backbone."""

    title: str
    backbone: str
    pretrained: str
    methods: Mapping[str, str]
    """Names in print."""
    datasets: Mapping[str, str]
    """Names in print, in the order of print: the eleven, then the four variants of ImageNet."""
    sources: Mapping[str, str]
    """Where each table stands in print."""
    figures: Mapping[tuple, float]
    """By (table, method, point, data set, metric)."""

    def value(
        self, table: str, method: str, dataset: str, metric: str, point: str | None = None
    ) -> float | None:
        """One printed figure. `point` is the shots, or the value of what is varied."""
        return self.figures.get((table, method, point, dataset, metric))

    def average(
        self,
        table: str,
        method: str,
        datasets: Sequence[str],
        metric: str,
        point: str | None = None,
    ) -> float | None:
        """Over these data sets: as printed where print has the very same ones, else computed.

        HM is that of the averages, as in print. None unless there are figures for all of them.
        """
        if len(datasets) == 1:
            return self.value(table, method, datasets[0], metric, point)
        names = {key[3] for key in self.figures if key[:3] == (table, method, point)}
        if set(datasets) == names - {AVERAGE, *_source(table)}:
            printed = self.value(table, method, AVERAGE, metric, point)
            if printed is not None:
                return printed
        if metric == "hm":
            halves = [self.average(table, method, datasets, m, point) for m in ("base", "novel")]
            return None if None in halves else harmonic_mean(*halves)
        found = [self.value(table, method, name, metric, point) for name in datasets]
        return mean(found) if found and None not in found else None

    @property
    def eleven(self) -> list[str]:
        """The data sets of the few-shot protocols, in the order of print."""
        return list(self.datasets)[:11]

    def methods_of(self, table: str) -> list[str]:
        """In the order of print."""
        return list(dict.fromkeys(key[1] for key in self.figures if key[0] == table))

    def points_of(self, table: str) -> list[str]:
        return list(dict.fromkeys(key[2] for key in self.figures if key[0] == table))


def _source(table: str) -> set[str]:
    """What transfer runs are trained on does not count among their targets."""
    return {"imagenet"} if table in ("cross-dataset", "domain-generalization") else set()


@cache
def published() -> Reference:
    """The MMRL paper's figures."""
    return _read("published", "published")


@cache
def rerun() -> Reference:
    """An independent rerun of the authors' code; base-to-novel only."""
    return _read("rerun", "rerun")


def _read(name: str, title: str) -> Reference:
    content = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return Reference(
        title=title,
        backbone=content["backbone"],
        pretrained=content["pretrained"],
        methods={OURS.get(key, key): label for key, label in content["methods"].items()},
        datasets=content.get("datasets", {}),
        sources={table: entry["source"] for table, entry in content["tables"].items()},
        figures={k: v for name, e in content["tables"].items() for k, v in _figures(name, e)},
    )


def _figures(table: str, entry: Mapping[str, Any]) -> Iterator[tuple[tuple, float]]:
    """Every figure of one table of a file; the file's "about" explains the layout."""
    for keys, row in _leaves(entry["figures"], entry["levels"]):
        where = {**entry.get("fixed", {}), **keys}
        method = OURS.get(where.get("method"), where.get("method"))
        points = entry.get("points")
        for i, value in enumerate(row):
            point = points[i] if points else where.get("point")
            metric = entry["metrics"][0 if points else i]
            yield (table, method, point, where.get("dataset"), metric), value


def _leaves(tree: Any, levels: Sequence[str]) -> Iterator[tuple[dict[str, str], list[float]]]:
    if not levels:
        yield {}, tree
        return
    for key, below in tree.items():
        for keys, row in _leaves(below, levels[1:]):
            yield {levels[0]: key, **keys}, row
