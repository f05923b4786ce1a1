"""One evaluation of one model on one data set: what clip_benchmark's `run` lacks around it.

clip_benchmark 1.6.2 does not say in an error which of many runs failed, and crashes with
`--skip_load` (UnboundLocalError: `dataset`). To see the latter: any `eval` with `--skip_load`.
Around it also work `task_choice`, `result_names` and `result_json`.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import logging
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from copy import copy
from typing import Any

from open_clip_mmrl.data.no_programs import no_programs
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.hub.names import ModelName
from open_clip_mmrl.utils.text import printable

from ..model_types import FEATURES, resolve_model, weights_of
from .linear_probe import check_val_proportion
from .result_json import result_file
from .result_names import result_path
from .task_choice import settle_task
from .wds_samples import plain_message, skipped

logger = logging.getLogger(__name__)

Run = Callable[[argparse.Namespace], Any]


def wrap_run(original: Run) -> Run:
    """Return clip_benchmark's `run` with checks before and a strict result after it."""

    @functools.wraps(original)
    def run(args: argparse.Namespace) -> int:
        args = copy(args)
        model = model_that_runs(args.model_type, args.model, args.pretrained)
        with naming(f"{args.dataset} with {model}, {args.pretrained}"):
            prepare(args)
            path = result_path(args, args.task)
            if args.skip_existing and path.exists():
                if args.verbose:
                    print(printable(f"Skip {path}, exists already."))
                return 0
            before = skipped()
            extra = {"model_type": args.model_type}
            with result_file(path, extra) as partial:
                # clip_benchmark fills its template in once more.
                args.output = str(partial).replace("{", "{{").replace("}", "}}")
                args.skip_existing = False
                try:
                    with no_programs():  # workers inherit it, unless they are spawned
                        original(args)
                finally:  # also if it failed because none are left
                    if count := skipped() - before:
                        extra["skipped_images"] = count
                        logger.warning("%s: %d broken images were left out", args.dataset, count)
            if args.verbose:
                print(printable(f"Results: {path}"))
            return 0

    return run


def wrap_main_eval(original: Run) -> Run:
    """Return clip_benchmark's `main_eval`, which prints the names of the models that will run."""

    @functools.wraps(original)
    def main_eval(args: argparse.Namespace) -> Any:
        pairs = itertools.product(_listed(args.model), _listed(args.pretrained))
        names = {model_that_runs(args.model_type, *pair) for pair in pairs}
        if len(names) == 1 and not args.pretrained_model:
            args = copy(args)
            args.model = [*names]
        return original(args)

    return main_eval


def model_that_runs(model_type: str, model: str, pretrained: str) -> str:
    """Return the model that an adapter names, instead of --model or its default; else `model`."""
    try:
        return resolve_model(model_type, model, pretrained) if model_type in FEATURES else model
    except (ValueError, OSError):  # said again, with what it belongs to, when it is evaluated
        return model


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@contextmanager
def naming(what: str) -> Generator[None, None, None]:
    """Name data set and model in an error."""
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
        args.pretrained = weights_of(args.model, args.pretrained)
        args.model = resolve_model(args.model_type, args.model, args.pretrained)
    if is_ours and args.task == "captioning":
        raise UsageError(
            f"captioning needs a model that generates text; {args.model} does not. Its captions "
            "can be scored with --task zeroshot_retrieval."
        )
    if args.skip_load:
        logger.warning("--skip_load has no effect: clip_benchmark cannot evaluate without a model")
        args.skip_load = False
    args.task = settle_task(args)
    if args.task == "linear_probe":
        check_val_proportion(args.dataset, args.val_proportion)
