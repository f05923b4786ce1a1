"""`--task`: "auto" takes every webdataset folder for classification.

clip_benchmark 1.6.2 goes by the name of a data set alone: for shards with captions under a name it
does not know, "auto" is zeroshot_classification, which fails after the model was loaded. To see it:
`clip_benchmark.datasets.builder.get_dataset_default_task("captions")`.
"""

from __future__ import annotations

import argparse

from clip_benchmark.datasets.builder import get_dataset_default_task

from open_clip_mmrl.data.shards.index import read_layout
from open_clip_mmrl.errors import UsageError

LABELED = ("zeroshot_classification", "linear_probe")
"""The tasks on classes; all others are on captions."""


def settle_task(args: argparse.Namespace) -> str:
    """Return the given task; for auto go by the name and by what a webdataset folder holds.

    Raises:
        UsageError: a task that does not fit the folder, or a `--dataset_root` that cannot be
            filled in.
    """
    name = args.dataset.removeprefix("wds/")
    task = get_dataset_default_task(name) if args.task == "auto" else args.task
    if args.dataset == name:
        return task
    kind = read_layout(filled_root(args.dataset, args.dataset_root)).kind
    has_captions, needs_captions = kind == "retrieval", task not in LABELED
    if has_captions == needs_captions:
        return task
    fitting = "zeroshot_retrieval" if has_captions else "zeroshot_classification"
    if args.task == "auto":
        return fitting
    raise UsageError(f"--task {task} does not fit a {kind} data set: choose {fitting}, or auto.")


def filled_root(dataset: str, root: str) -> str:
    """Return `--dataset_root` filled in as by clip_benchmark.

    Raises:
        UsageError: it has other places than {dataset} and {dataset_cleaned}.
    """
    name = dataset.removeprefix("wds/")
    try:
        return root.format(dataset=name, dataset_cleaned=name.replace("/", "-"))
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(
            f"--dataset_root {root!r} cannot be filled in ({error}): places are {{dataset}} and "
            "{dataset_cleaned}."
        ) from error
