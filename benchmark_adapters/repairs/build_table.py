"""`build`: one result without metrics ends it, and the columns change from call to call.

clip_benchmark 1.6.2 reads every JSON file as a result: one with `"metrics": null`, which its linear
probe writes, or any other JSON file in the folder ends `build` with a TypeError or KeyError. Its
columns are a set, ordered by the hash seed of the process. To see the first: its `main_build` on a
file with `"metrics": null`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.utils.files import read_json, write_atomically
from open_clip_mmrl.utils.text import csv_cell, listing

logger = logging.getLogger(__name__)

FIRST = ("model_fullname", "model", "pretrained", "dataset", "task", "method", "shots", "seed")
"""The first columns, where any result has them; then the metrics, then the others, sorted."""


def main_build(args: argparse.Namespace) -> None:
    """Write `args.output` from `args.files`, JSON files and folders of them.

    Raises:
        ValueError: no results in any of them.
        UsageError: a file that does not exist.
    """
    results = []
    for path in result_files(args.files):
        try:
            results.append(read_result(path))
        except (ValueError, OSError) as error:
            logger.warning("left out: %s", error)
    if not results:
        raise ValueError(
            f"there are no results in {listing(args.files)}: {args.output} not written."
        )
    write_atomically(args.output, table(results).encode("utf-8", "backslashreplace"))


def result_files(paths: Iterable[str]) -> Iterator[Path]:
    """Yield files as given, and the *.json of folders, by name."""
    for path in map(Path, paths):
        if not path.exists():
            raise UsageError(f"there is no result file or folder {path}.")
        yield from sorted(path.glob("*.json")) if path.is_dir() else [path]


def read_result(path: Path) -> dict[str, Any]:
    """Return the content of a result file.

    Raises:
        ValueError: it holds no result; the message names it.
        OSError: it cannot be read.
    """
    result = read_json(path)
    if not isinstance(result, dict) or not {"model", "pretrained", "metrics"} <= result.keys():
        raise ValueError(f"{path}: no result: it lacks model, pretrained or metrics")
    if not isinstance(result["metrics"], dict):
        raise ValueError(f"{path}: it has no metrics but {json.dumps(result['metrics'])}")
    return result


def table(results: Iterable[dict[str, Any]]) -> str:
    """Return one line per result, as CSV; a list or a dict in a cell is written as JSON."""
    rows, metrics, rest = [], set(), set()
    for result in results:
        top = {key: value for key, value in result.items() if key != "metrics"}
        fullname = f"{result['model']} {result['pretrained']}"
        rows.append({**result["metrics"], **top, "model_fullname": fullname})
        metrics |= result["metrics"].keys()
        rest |= top.keys()
    first = [name for name in FIRST if any(name in row for row in rows)]
    ordered = [*sorted(metrics - rest), *sorted(rest)]
    columns = [*first, *(name for name in ordered if name not in first)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writerow({name: csv_cell(name) for name in columns})
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else csv_cell(value)
