"""How a section stands beside the figures of others: what is shown, what is compared, what is said.

Published figures are shown for the paper's data sets. They are subtracted only where model,
weights, shots and test images are the paper's; beside other models they are context.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...config import VARIANTS
from ..load.published import Reference, published, rerun
from ..load.sections import FROZEN, METHODS, SETTINGS, Section, Series
from .grid import MINUS, Cell, Column, Notes, Number, Role, difference, grouped, percent, scored

SCATTER = 2.0
"""Standard deviation over seeds, in points, from which a novel accuracy is marked."""
LABELS = {"base": "base", "novel": "novel", "hm": "HM", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Place:
    """What a row of a table stands for: one data set, or the average over several."""

    label: str
    datasets: tuple[str, ...]
    role: Role = "plain"


def dataset_name(name: str) -> str:
    """As in print where it is known."""
    return published().datasets.get(name, name)


def comparable(section: Section) -> bool:
    """Whether the runs differ from the published ones in nothing that is known."""
    frame, paper = section.frame, published()
    return (
        frame.backbone.removesuffix("-quickgelu") == paper.backbone
        and frame.pretrained == paper.pretrained
        and frame.test_split == "test"
        and frame.shots in (None, 16)
        and (frame.source is None or (frame.source == "imagenet" and section.splits["imagenet"]))
    )


def shown(section: Section, dataset: str) -> bool:
    """Whether published figures may stand beside ours on this data set."""
    split = section.splits.get(dataset)
    if dataset not in published().datasets or split is None:
        return False
    return split or comparable(section)


def subtracted(
    section: Section,
    series: Series,
    place: Place,
    metric: str,
    theirs: float | None,
    point: str | None = None,
) -> Number | None:
    """Ours - theirs, in points; nothing where conditions or images differ from the paper's."""
    if not comparable(section) or not all(section.splits.get(name) for name in place.datasets):
        return None
    return difference(section.average(series, place.datasets, metric, point), theirs)


def averaged(section: Section, names: Iterable[str]) -> list[str]:
    """What an average goes over: the paper's data sets where there are any, else all."""
    names = list(names)
    return [name for name in names if shown(section, name)] or names


def places(section: Section, names: Sequence[str]) -> list[Place]:
    """The average of at least two data sets, then every data set."""
    single = [Place(dataset_name(name), (name,)) for name in names]
    over = averaged(section, names)
    if len(over) < 2:
        return single
    return [Place(f"average over {len(over)}", tuple(over), "average"), *single]


def references(section: Section, series: Series, table: str) -> list[Reference]:
    """Whose figures can stand beside this series: the paper's, then the rerun's."""
    if not any(shown(section, name) for name in [*section.datasets, section.frame.source]):
        return []
    found = [published(), rerun()] if series.fusion in (None, "logits") else []
    return [ref for ref in found if series.method in ref.methods_of(table)]


def reference_label(series: Series, ref: Reference) -> str:
    """What a line of others' figures is called; the same for all settings of ours."""
    return f"{METHODS.get(series.method, series.method)}, {ref.title}"


def ours_minus(refs: Sequence[Reference]) -> str:
    return f"ours {MINUS} {refs[0].title}"


def reference_columns(
    section: Section, refs: Sequence[Reference], metrics: Sequence[str]
) -> tuple[Column, ...]:
    """A group for each source of figures, and one for the difference to the first."""
    labels = [LABELS[metric] for metric in metrics]
    groups = [ref.title for ref in refs]
    if refs and comparable(section):
        groups.append(ours_minus(refs))
    return tuple(column for group in groups for column in grouped(group, labels))


def reference_cells(
    section: Section,
    series: Series,
    refs: Sequence[Reference],
    table: str,
    place: Place,
    metrics: Sequence[str],
) -> list[Cell]:
    """The figures below `reference_columns`."""
    theirs = [
        [
            ref.average(table, series.method, place.datasets, metric)
            if all(shown(section, name) for name in place.datasets)
            else None
            for metric in metrics
        ]
        for ref in refs
    ]
    cells = [percent(value) for row in theirs for value in row]
    if refs and comparable(section):
        pairs = zip(metrics, theirs[0], strict=True)
        cells += [subtracted(section, series, place, m, value) for m, value in pairs]
    return cells


def marked(
    section: Section,
    series: Series,
    place: Place,
    metric: str,
    notes: Notes,
    point: str | None = None,
) -> Number | None:
    """Our figure, with the marks of what its reader has to know."""
    score = section.average(series, place.datasets, metric, point)
    if score is None:
        return None
    marks = ""
    if metric == "novel" and score.std is not None and score.std >= SCATTER:
        marks += notes.add(_scatter(place), "†")
    if any(section.splits.get(name) is False for name in place.datasets):
        marks += notes.add(
            "Not the paper's split: other images, or divided otherwise; no difference is given.",
            "‡",
        )
    return scored(score, marks)


def seeds_text(section: Section, series: Series, place: Place, metric: str) -> str | None:
    """ "3", or "2 of 3" where some seeds are missing; nothing for what has none."""
    score, full = section.average(series, place.datasets, metric), section.seeds(series)
    if score is None or series == FROZEN:
        return None
    return str(full) if score.seeds == full else f"{score.seeds} of {full}"


def settings_notes(section: Section, notes: Notes, series: Iterable[Series]) -> None:
    """Where the settings of the methods come from, and how both features are mixed."""
    for one in series:
        if one.method in VARIANTS:
            mixed = f"; features mixed as {one.fusion}" if one.fusion else ""
            where = SETTINGS.get(one.settings, one.settings)
            notes.add(f"{METHODS[one.method]}: settings {where}{mixed}.")
        elif one.method == "linear_probe":
            notes.add(
                "linear probe: regularisation chosen on up to 4 validation images per class where "
                "there are any, else on folds of the training images."
            )


def reference_notes(section: Section, notes: Notes, table: str, refs: Sequence[Reference]) -> None:
    """What the figures of others are, and why they are not subtracted, where they are not."""
    paper = published()
    for ref in refs:
        if ref is paper:
            where = f"{paper.sources[table]} of the MMRL paper (CVPR 2025)"
            notes.add(f"published: {where}, {paper.backbone} with {paper.pretrained} weights.")
        else:
            notes.add("rerun: an independent rerun of the authors' code; not the paper's figures.")
    if refs and not comparable(section):
        notes.add(
            "Backbone, weights, shots, source or test part are not those of the published "
            "figures, which are context here: no differences are given."
        )


def _scatter(place: Place) -> str:
    text = f"Seeds scatter: the novel accuracy's standard deviation is {SCATTER:g} points or more."
    if "eurosat" in place.datasets and len(place.datasets) == 1:
        text += (
            " Known for EuroSAT: between the paper and an independent rerun of its code lie "
            "8 points of novel accuracy."
        )
    return text
