"""One evaluation: one model, one data set, one language. Stands around clip_benchmark's `run`."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from clip_benchmark.datasets.builder import get_dataset_default_task

from open_clip_mmrl.data.shards import read_layout
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.names import split_name

from . import outputs
from .linear_probe import check_val_proportion
from .model_types import FEATURES, resolve_model, warn_if_untrained
from .notices import warn
from .samples import plain_message, skipped

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
            path = outputs.result_path(args, args.task)
            if args.skip_existing and path.exists():
                if args.verbose:
                    print(f"Skip {path}, exists already.")
                return 0
            before = skipped()
            extra = {"model_type": args.model_type}
            with outputs.result_file(path, extra) as partial:
                # clip_benchmark fills its template in once more.
                args.output = str(partial).replace("{", "{{").replace("}", "}}")
                args.skip_existing = False
                original(args)
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
    except (ValueError, AssertionError, OSError) as error:
        kind = UsageError if isinstance(error, UsageError) else ValueError
        raise kind(f"{what}: {message(error)}") from error
    except RuntimeError as error:  # of torch, and of open_clip for names it does not know
        raise RuntimeError(f"{what}: {message(error)}") from error


def message(error: BaseException) -> str:
    return plain_message(error) or type(error).__name__


def prepare(args: argparse.Namespace) -> None:
    """Settle the model's name and the task, in place; refuse what cannot go together."""
    is_ours = args.model_type in FEATURES
    if is_ours:
        args.model = resolve_model(args.model_type, args.model, args.pretrained)
    elif args.model_type == "open_clip" and split_name(args.model):
        is_ours = True
        warn_if_untrained(args.model, args.pretrained)
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
