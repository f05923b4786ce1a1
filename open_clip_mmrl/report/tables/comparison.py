"""Which published results a section is compared with, and where differences are given.

Published results are shown for the paper's data sets. They are subtracted only where model,
weights, shots and test images are the paper's; next to other models they are context.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...utils.text import MINUS
from ..load.published import Reference, published, rerun
from ..load.sections import METHODS, Section, Series
from .table import Number, Role


@dataclass(frozen=True)
class DatasetGroup:
    """What a row of a table stands for: one data set, or the average over several."""

    label: str
    datasets: tuple[str, ...]
    role: Role = "plain"


def dataset_name(name: str) -> str:
    """Return the paper's title of a data set, or the name where it has none."""
    return published().datasets.get(name, name)


def datasets_text(names: Sequence[str]) -> str:
    """Return the title of one data set, or the number of several."""
    return dataset_name(names[0]) if len(names) == 1 else f"{len(names)} data sets"


def average_text(names: Sequence[str]) -> str:
    """Return what results are of: a data set, or "average over 3 data sets"."""
    return f"{'average over ' if len(names) > 1 else ''}{datasets_text(names)}"


def comparable(section: Section) -> bool:
    """Return whether the runs differ from the published ones in nothing that is known."""
    setup, paper = section.setup, published()
    return (
        setup.backbone.removesuffix("-quickgelu") == paper.backbone
        and setup.pretrained == paper.pretrained
        and setup.test_split == "test"
        and setup.shots in (None, 16)
        and (
            not setup.source or (setup.source == "imagenet" and paper_split(section, ["imagenet"]))
        )
    )


def paper_split(section: Section, datasets: Iterable[str]) -> bool:
    """Return whether all of these data sets are known to be split as the paper's."""
    return all(section.splits.get(name) for name in datasets)


def has_published(section: Section, datasets: Iterable[str]) -> bool:
    """Return whether published results may be shown next to ours on all of these data sets."""
    return all(
        name in published().datasets
        and (split := section.splits.get(name)) is not None
        and (split or comparable(section))
        for name in datasets
    )


def datasets_to_average(section: Section, names: Iterable[str]) -> tuple[str, ...]:
    """Return the paper's data sets among these: means over unrelated ones say nothing.

    They are those with published results here, or where there are none, those of its names.
    """
    known = [name for name in names if name in published().datasets]
    return tuple(name for name in known if has_published(section, [name])) or tuple(known)


def dataset_groups(section: Section, names: Sequence[str]) -> list[DatasetGroup]:
    """Return the average of at least two data sets, then every data set."""
    single = [DatasetGroup(dataset_name(name), (name,)) for name in names]
    over = datasets_to_average(section, names)
    if len(over) < 2:
        return single
    return [DatasetGroup(f"average over {len(over)}", over, "average"), *single]


def references_for(section: Section, series: Series, table: str) -> list[Reference]:
    """Return whose results compare with this series: the paper's, then the rerun's."""
    names = (*section.datasets, section.setup.source)
    if series.fusion not in (None, "logits") or not any(has_published(section, [n]) for n in names):
        return []
    return [ref for ref in (published(), rerun()) if series.method in ref.methods_of(table)]


def reference_label(series: Series, ref: Reference) -> str:
    """Return the legend of published results; the same for all settings of ours."""
    return f"{METHODS.get(series.method, series.method)}, {ref.title}"


def ours_minus(ref: Reference) -> str:
    """Return the heading of a difference."""
    return f"ours {MINUS} {ref.title}"


def published_value(
    section: Section,
    ref: Reference,
    table: str,
    method: str,
    datasets: Sequence[str],
    metric: str,
    point: str = "",
) -> float | None:
    """Return a published number or average; None where it may not be shown next to ours."""
    if not has_published(section, datasets):
        return None
    return ref.average(table, method, datasets, metric, point)


def difference(
    section: Section,
    series: Series,
    datasets: Sequence[str],
    metric: str,
    theirs: Number | None,
    point: str = "",
) -> Number | None:
    """Return ours - theirs in points; None where conditions or images are not the paper's.

    It is that of the rounded numbers, so that a table adds up.
    """
    ours = section.average(series, datasets, metric, point)
    if ours is None or theirs is None:
        return None
    if not comparable(section) or not paper_split(section, datasets):
        return None
    points = round(round(ours.mean, 2) - round(theirs.value, 2), 2)
    return Number(points + 0.0, "difference")  # + 0.0: no "-0.00"
