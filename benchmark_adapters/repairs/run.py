"""One evaluation: one model, one data set, one language. Stands around clip_benchmark's `run`."""

from __future__ import annotations

import argparse
import functools
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from clip_benchmark.datasets.builder import get_dataset_default_task

from open_clip_mmrl.data.shards.index import read_layout
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.hub.names import ModelName

from ..model_types import FEATURES, resolve_model
from ..notices import warn
from . import result_files
from .linear_probe import check_val_proportion
from .wds_samples import plain_message, skipped

LABELLED = ("zeroshot_classification", "linear_probe")
"""The tasks on classes; all others are on captions."""

Run = Callable[[argparse.Namespace], Any]


def wrap_run(original: Run) -> Run:
    """clip_benchmark's `run` with what it lacks before and after the evaluation."""

    @functools.wraps(original)
    def run(args: argparse.Namespace) -> Any:
        args = copy(args)
        with naming(args):
            prepare(args)
            path = result_files.result_path(args, args.task)
            if args.skip_existing and path.exists():
                if args.verbose:
                    print(f"Skip {path}, exists already.")
                return 0
            before = skipped()
            extra = {"model_type": args.model_type}
            with result_files.result_file(path, extra) as partial:
                # clip_benchmark fills its template in once more.
                args.output = str(partial).replace("{", "{{").replace("}", "}}")
                args.skip_existing = False
                try:
                    original(args)
                finally:  # it may be why there are none left
                    if count := skipped() - before:
                        extra["skipped_images"] = count
                        warn(f"{args.dataset}: {count} broken images were left out")
            if args.verbose:
                print(f"Results: {path}")
            return 0

    return run


@contextmanager
def naming(args: argparse.Namespace) -> Iterator[None]:
    """Say in an error which of many runs it was."""
    what = f"{args.dataset} with {args.model}, {args.pretrained}"
    try:
        yield
    except (ValueError, AssertionError, OSError, RuntimeError) as error:
        # Lets go of the DataLoader's iterator, which ends its workers: left to the garbage
        # collector, it would wait five seconds for each of them.
        traceback.clear_frames(error.__traceback__)
        kinds = (UsageError, RuntimeError)
        kind = next((kind for kind in kinds if isinstance(error, kind)), ValueError)
        raise kind(f"{what}: {plain_message(error) or type(error).__name__}") from error


def prepare(args: argparse.Namespace) -> None:
    """Settle the model's name and the task, in place; refuse what cannot go together."""
    if args.batch_size < 1:
        raise UsageError(f"--batch_size is {args.batch_size}; give 1 or more.")
    if args.model_type == "open_clip" and ModelName.parse(args.model).variant:
        args.model_type = "mmrl"  # the same model, loaded with our checks
    is_ours = args.model_type in FEATURES
    if is_ours:
        args.model = resolve_model(args.model_type, args.model, args.pretrained)
    if is_ours and args.task == "captioning":
        raise UsageError(
            f"captioning needs a model that generates text; {args.model} does not. Its captions "
            "can be scored with --task zeroshot_retrieval."
        )
    if args.skip_load:
        warn("--skip_load has no effect: clip_benchmark cannot evaluate without the model")
        args.skip_load = False
    args.task = settle_task(args)
    if args.task == "linear_probe":
        check_val_proportion(args.dataset, args.val_proportion)


def settle_task(args: argparse.Namespace) -> str:
    """The task asked for; where auto was, by the name, or by what a webdataset folder holds."""
    name = args.dataset.removeprefix("wds/")
    task = get_dataset_default_task(name) if args.task == "auto" else args.task
    if args.dataset == name:
        return task
    kind = read_layout(dataset_root(args)).kind
    has_captions, needs_captions = kind == "retrieval", task not in LABELLED
    if has_captions == needs_captions:
        return task
    fitting = "zeroshot_retrieval" if has_captions else "zeroshot_classification"
    if args.task == "auto":
        return fitting
    raise UsageError(f"--task {task} does not fit a {kind} data set: choose {fitting}, or auto.")


def dataset_root(args: argparse.Namespace) -> str:
    """`--dataset_root` filled in as clip_benchmark does."""
    name = args.dataset.removeprefix("wds/")
    try:
        return args.dataset_root.format(dataset=name, dataset_cleaned=name.replace("/", "-"))
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(
            f"--dataset_root {args.dataset_root!r} cannot be filled in ({error}): places are "
            "{dataset} and {dataset_cleaned}."
        ) from error
