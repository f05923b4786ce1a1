"""Published results: the MMRL paper's, and an independent rerun's of the authors' code.

The numbers are in published.json and rerun.json; the "about" of each explains its layout.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from ...evaluation.metrics import harmonic_mean

AVERAGE = "average"
_OUR_NAMES = {"clip": "zeroshot", "linear_probe_clip": "linear_probe"}
"""Our name of a method in the files, where it is another."""


class Key(NamedTuple):
    """What a published number stands for."""

    table: str
    method: str
    point: str
    """The shots, or the value of what is varied; "" where nothing is."""
    dataset: str
    metric: str


@dataclass(frozen=True)
class Reference:
    """The results of one source, all with one backbone."""

    title: str
    backbone: str
    pretrained: str
    methods: Mapping[str, str]
    """Titles of the methods."""
    datasets: Mapping[str, str]
    """Titles of the data sets in the paper's order: the eleven, then ImageNet's four variants."""
    sources: Mapping[str, str]
    """The number of each table in the paper."""
    numbers: Mapping[Key, float]

    def value(
        self, table: str, method: str, dataset: str, metric: str, point: str = ""
    ) -> float | None:
        """Return one published number."""
        return self.numbers.get(Key(table, method, point, dataset, metric))

    def average(
        self, table: str, method: str, datasets: Sequence[str], metric: str, point: str = ""
    ) -> float | None:
        """Return the average over these data sets; None unless there are numbers for all of them.

        It is the published average where that is over the same data sets, else computed. HM is
        that of the averages, as in the paper.
        """
        if len(datasets) == 1:
            return self.value(table, method, datasets[0], metric, point)
        names = {key.dataset for key in self.numbers if key[:3] == (table, method, point)}
        if set(datasets) == names - {AVERAGE, *_training_sets(table)}:
            printed = self.value(table, method, AVERAGE, metric, point)
            if printed is not None:
                return printed
        if metric == "hm":
            base = self.average(table, method, datasets, "base", point)
            novel = self.average(table, method, datasets, "novel", point)
            return None if base is None or novel is None else harmonic_mean(base, novel)
        values = [self.value(table, method, name, metric, point) for name in datasets]
        found = [value for value in values if value is not None]
        return mean(found) if found and len(found) == len(values) else None

    @property
    def eleven(self) -> list[str]:
        """The data sets of the few-shot protocols, in the paper's order."""
        return list(self.datasets)[:11]

    def methods_of(self, table: str) -> list[str]:
        """Return the methods of a table, in the paper's order."""
        return list(dict.fromkeys(key.method for key in self.numbers if key.table == table))

    def points_of(self, table: str) -> list[str]:
        """Return the points of a table, in the paper's order."""
        return list(dict.fromkeys(key.point for key in self.numbers if key.table == table))

    def datasets_of(self, table: str) -> list[str]:
        """Return the data sets of a table; `AVERAGE` may be one of them."""
        return list(dict.fromkeys(key.dataset for key in self.numbers if key.table == table))


def _training_sets(table: str) -> set[str]:
    """Return what transfer runs are trained on, which is not among their targets."""
    return {"imagenet"} if table in ("cross-dataset", "domain-generalization") else set()


@cache
def published() -> Reference:
    """Return the MMRL paper's results."""
    return _read("published")


@cache
def rerun() -> Reference:
    """Return the results of an independent rerun of the authors' code; base-to-novel only."""
    return _read("rerun")


def _read(name: str) -> Reference:
    content = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return Reference(
        title=name,
        backbone=content["backbone"],
        pretrained=content["pretrained"],
        methods={_OUR_NAMES.get(key, key): label for key, label in content["methods"].items()},
        datasets=content.get("datasets", {}),
        sources={table: entry["source"] for table, entry in content["tables"].items()},
        numbers=dict(number for item in content["tables"].items() for number in _numbers(*item)),
    )


def _numbers(table: str, entry: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    points = entry.get("points")
    for keys, row in _leaves(entry["numbers"], entry["levels"]):
        where = {"point": "", **entry.get("fixed", {}), **keys}
        method = _OUR_NAMES.get(where["method"], where["method"])
        for i, value in enumerate(row):
            point = points[i] if points else where["point"]
            metric = entry["metrics"][0 if points else i]
            yield Key(table, method, point, where["dataset"], metric), value


def _leaves(tree: Any, levels: Sequence[str]) -> Iterator[tuple[dict[str, str], list[float]]]:
    if not levels:
        yield {}, tree
        return
    for key, below in tree.items():
        for keys, row in _leaves(below, levels[1:]):
            yield {levels[0]: key, **keys}, row
