"""`open-clip-mmrl data check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import DATA, command, out, path_option, say
from .help import Command, example

if TYPE_CHECKING:
    from rich.table import Table

    from ..data.coop.check import DatasetCheck

app = typer.Typer(help="The paper's data sets on disk.", no_args_is_help=True)


@app.callback()
def _root() -> None: ...


@app.command("check", cls=Command, epilog=example("check"))
@command()
def check(
    data_root: Annotated[
        Path,
        path_option("Folder that holds the data sets' folders.", panel=DATA),
    ],
    json_file: Annotated[
        Path | None,
        path_option("Also write the result to this file.", "--json"),
    ] = None,
) -> None:
    """Show which of the fifteen data sets are there, what is missing and where it belongs."""
    from ..data.coop.catalog import CATALOG
    from ..data.coop.check import check as check_data
    from ..utils.files import json_bytes, write_atomically

    found = check_data(data_root)
    out.print(_table(found))
    for dataset in found:
        entry = CATALOG[dataset.name]
        if dataset.state == "missing":
            say(f"{dataset.name}: missing; from {entry.source}, put into {data_root}:")
        elif dataset.problem:
            say(f"{dataset.name}: incomplete; {dataset.problem}")
        if dataset.state != "present":
            for place in dataset.absent:
                say(f"    {place}")
    notes = dict.fromkeys(note for dataset in found for note in dataset.notes)
    for note in notes:  # data sets of ImageNet share a note
        say(f"{', '.join(d.name for d in found if note in d.notes)}: {note}")
    if json_file is not None:
        content = {"data_root": str(data_root), "datasets": [d.to_dict() for d in found]}
        write_atomically(json_file, json_bytes(content))


def _table(found: list[DatasetCheck]) -> Table:
    from rich import box
    from rich.table import Table

    from ..data.coop.catalog import CATALOG

    table = Table(
        title="coop: data sets; found/the paper's count where they differ",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, 1),
    )
    for name in ("data set", "state", "paper's\nsplit"):
        table.add_column(name, no_wrap=True)
    for name in ("classes", "train", "val", "test"):
        table.add_column(name, justify="right", no_wrap=True)
    for dataset in found:
        paper, sizes = CATALOG[dataset.name].sizes, dataset.sizes or {}
        counts = [_count(sizes.get(key), paper[key]) for key in paper]
        agrees = sizes.get("paper_split")
        split = "-" if agrees is None else "yes" if agrees else "no"
        table.add_row(dataset.name, dataset.state, split, *counts)
    return table


def _count(found: int | None, paper: int) -> str:
    if found is None:
        return f"-/{paper}"
    return str(found) if found == paper else f"{found}/{paper}"
