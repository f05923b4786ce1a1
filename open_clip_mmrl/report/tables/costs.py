"""Tables of cost and environment."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from ..load.published import published
from ..load.run import Run
from ..load.sections import FROZEN, Section, Series, series_of
from .compared import comparable, dataset_name
from .grid import Cell, Column, Notes, Number, Row, Table, grouped

MILLION = 1e6


def cost_table(sections: Sequence[Section]) -> Table | None:
    """The paper's Table 6, and our runs by protocol, method and data sets."""
    rows, notes = [], Notes()
    for section in sections:
        for series in section.series:
            if section.frame.protocol == "ablation" or series == FROZEN:
                continue
            names = [run.dataset for run in _runs(section, series) if run.cost]
            groups = [list(dict.fromkeys(names))]
            if "imagenet" in names and len(groups[0]) > 1:
                groups.append(["imagenet"])
            rows += [_row(section, series, group) for group in groups if group]
    if not rows:
        return None
    if any(comparable(section) for section in sections):
        rows += _published_rows()
        notes.add(
            "published: Table 6 of the MMRL paper, one RTX 4090, ImageNet, 16 shots, scoring in "
            "batches of 100; HM over 11 data sets. Times of other devices do not compare."
        )
    notes.add("Times are means over runs; minutes are those of one run's training.")
    texts = ("method", "figures", "protocol", "data", "device")
    heads = ("parameters, M", "train ms/image", "train minutes", "test images/s", "HM", "runs")
    columns = (*(Column(text, text=True) for text in texts), *grouped("", heads))
    return Table("cost", "What training and scoring cost", columns, tuple(rows), notes.all())


def environment_table(runs: Sequence[Run]) -> Table:
    """A column per environment: what it is, how many runs and hours come from it."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple((k, str(v)) for k, v in run.environment.items()), []).append(run)
    names = dict.fromkeys(name for group in groups for name, _ in group)
    rows = [
        Row((name.replace("_", " "), *(dict(group).get(name) for group in groups)))
        for name in names
    ]
    rows.append(Row(("runs", *(f"{len(found):,}" for found in groups.values())), "average"))
    hours = (f"{hours_of(found):,.2f}" for found in groups.values())
    rows.append(Row(("training, hours", *hours), "average"))
    heads = (Column(f"environment {i + 1}", text=True) for i in range(len(groups)))
    columns = (Column("", text=True), *heads)
    return Table("environment", "Where the runs were computed", columns, tuple(rows))


def hours_of(runs: Sequence[Run]) -> float:
    """Of training, with what choosing settings took."""
    keys = ("train_seconds", "selection_seconds")
    return sum(run.cost.get(key, 0) for run in runs for key in keys) / 3600


def _runs(section: Section, series: Series) -> list[Run]:
    return [run for run in section.runs if series_of(run) == series]


def _row(section: Section, series: Series, names: list[str]) -> Row:
    runs = [run for run in _runs(section, series) if run.dataset in names]
    counts = [run.cost.get("trainable_parameters") for run in runs]
    known = sorted({count / MILLION for count in counts if count is not None})
    parameters: Cell = Number(known[0], "three") if len(known) == 1 else None
    if len(known) > 1:  # d_r, or the number of classes, differs between data sets
        parameters = f"{known[0]:.3f} to {known[-1]:.3f}"
    seconds = _mean(runs, "train_seconds")
    base_to_novel = section.frame.protocol == "base-to-novel"
    score = section.average(series, names, "hm") if base_to_novel else None
    where = dataset_name(names[0]) if len(names) == 1 else f"{len(names)} data sets"
    return Row(
        (
            section.label(series),
            "ours",
            section.frame.protocol,
            where,
            ", ".join(dict.fromkeys(_device(run) for run in runs)),
            parameters,
            _number(_mean(runs, "train_ms_per_image")),
            _number(None if seconds is None else seconds / 60),
            _number(_mean(runs, "eval_images_per_second")),
            None if score is None else Number(score.mean),
            Number(len(runs), "count"),
        )
    )


def _published_rows() -> list[Row]:
    paper = published()
    metrics = ("train_ms_per_image", "train_minutes", "images_per_second")
    rows = []
    for method in paper.methods_of("cost"):
        figure = {m: paper.value("cost", method, "imagenet", m) for m in metrics}
        head = (paper.methods[method], paper.title, "base-to-novel", "ImageNet", "RTX 4090")
        cells = (
            Number(paper.value("cost", method, "imagenet", "parameters_millions"), "three"),
            *(Number(figure[m], "one") for m in metrics),
            Number(paper.value("cost", method, "imagenet", "hm")),
            None,
        )
        rows.append(Row((*head, *cells), "published"))
    return rows


def _mean(runs: Sequence[Run], key: str) -> float | None:
    found = [run.cost[key] for run in runs if key in run.cost]
    return mean(found) if found else None


def _number(value: float | None) -> Number | None:
    return None if value is None else Number(value, "one")


def _device(run: Run) -> str:
    name = run.environment.get("device_name") or run.environment.get("device") or "not recorded"
    precision = run.environment.get("precision")
    return f"{name}, {precision}" if precision else str(name)
