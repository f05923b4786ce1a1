"""Tables of cost and environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import mean

from ..load.published import published
from ..load.run import FROZEN, Run, Series
from ..load.sections import Section
from .comparison import comparable, datasets_text
from .table import Cell, Kind, Number, Row, Table, grouped, percent, text_columns

MILLION = 1e6


def cost_table(sections: Sequence[Section]) -> Table | None:
    """Return the paper's Table 6, and our runs by protocol, method and data sets."""
    rows: list[Row] = []
    notes = ["Times are means over runs; minutes are those of one run's training."]
    for section in sections:
        for series in section.series:
            if section.setup.protocol != "ablation" and series != FROZEN:
                rows += _rows(section, series)
    if not rows:
        return None
    if any(comparable(section) for section in sections):
        rows += _published_rows()
        notes.append(
            "published: Table 6 of the MMRL paper, one RTX 4090, ImageNet, 16 shots, scoring in "
            "batches of 100; HM over 11 data sets. Times of other devices do not compare."
        )
    heads = ("parameters, M", "train ms/image", "train minutes", "test images/s", "HM", "runs")
    columns = (
        *text_columns("method", "results", "protocol", "data", "device"),
        *grouped("", heads),
    )
    return Table("cost", "What training and scoring cost", columns, tuple(rows), tuple(notes))


def environment_table(runs: Sequence[Run]) -> Table:
    """Return a column per environment: what it is, how many runs and hours come from it."""
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        environment = run.result.environment.to_json()
        groups.setdefault(tuple((k, str(v)) for k, v in environment.items()), []).append(run)
    names = dict.fromkeys(name for group in groups for name, _ in group)
    rows = [
        Row((name.replace("_", " "), *(dict(group).get(name) for group in groups)))
        for name in names
    ]
    rows.append(Row(("runs", *(f"{len(found):,}" for found in groups.values())), "average"))
    hours = (f"{hours_of(found):,.2f}" for found in groups.values())
    rows.append(Row(("training, hours", *hours), "average"))
    columns = text_columns("", *(f"environment {i + 1}" for i in range(len(groups))))
    return Table("environment", "Where the runs were computed", columns, tuple(rows))


def hours_of(runs: Iterable[Run]) -> float:
    """Return the hours of training, with what choosing settings took."""
    return sum(run.hours for run in runs)


def _rows(section: Section, series: Series) -> list[Row]:
    """Return a row for all data sets of a method, and one for ImageNet where it is among them."""
    runs = [run for run in section.runs if run.series == series and _has_cost(run)]
    names = list(dict.fromkeys(run.result.dataset for run in runs))
    groups = [names, ["imagenet"]] if "imagenet" in names and len(names) > 1 else [names]
    return [_row(section, series, group) for group in groups if group]


def _has_cost(run: Run) -> bool:
    result = run.result
    costs = (result.trainable_parameters, result.train_images, result.eval_images_per_second)
    return any(cost is not None for cost in costs)


def _row(section: Section, series: Series, names: list[str]) -> Row:
    runs = [run for run in section.runs if run.series == series and run.result.dataset in names]
    counts = {run.result.trainable_parameters for run in runs} - {None}
    known = sorted(count / MILLION for count in counts if count is not None)
    parameters: Cell = Number(known[0], "three") if len(known) == 1 else None
    if len(known) > 1:  # d_r, or the number of classes, differs between data sets
        parameters = f"{known[0]:.3f} to {known[-1]:.3f}"
    base_to_novel = section.setup.protocol == "base-to-novel"
    score = section.average(series, names, "hm") if base_to_novel else None
    return Row(
        (
            section.label(series),
            "ours",
            section.setup.protocol,
            datasets_text(names),
            ", ".join(dict.fromkeys(_device(run) for run in runs)),
            parameters,
            _mean(runs, lambda run: run.result.train_ms_per_image),
            _mean(runs, lambda run: run.train_seconds, 60),
            _mean(runs, lambda run: run.result.eval_images_per_second),
            percent(score.mean if score else None),
            Number(len(runs), "count"),
        )
    )


def _published_rows() -> list[Row]:
    kinds: dict[str, Kind] = {
        "parameters_millions": "three",
        "train_ms_per_image": "one",
        "train_minutes": "one",
        "images_per_second": "one",
        "hm": "percent",
    }
    paper, rows = published(), []
    for method in paper.methods_of("cost"):
        cells: list[Cell] = []
        for metric, kind in kinds.items():
            value = paper.value("cost", method, "imagenet", metric)
            cells.append(None if value is None else Number(value, kind))
        head = (paper.methods[method], paper.title, "base-to-novel", "ImageNet", "RTX 4090")
        rows.append(Row((*head, *cells, None), "published"))
    return rows


def _mean(
    runs: Sequence[Run], cost: Callable[[Run], float | None], unit: float = 1
) -> Number | None:
    found = [value for run in runs if (value := cost(run)) is not None]
    return Number(mean(found) / unit, "one") if found else None


def _device(run: Run) -> str:
    environment = run.result.environment
    name = environment.device_name or environment.device or "not recorded"
    return f"{name}, {environment.precision}" if environment.precision else name
