"""What every task's `evaluate` gets in front: the device's type, a choice of features, checks.

Each `wrap_*` takes clip_benchmark's function (or our own of the same signature) and returns one
with that signature.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from open_clip_mmrl.errors import UsageError

from ..auto import chosen_features

Evaluate = Callable[..., dict[str, Any]]


def wrap_classification(original: Evaluate) -> Evaluate:
    """zeroshot_classification.evaluate; an auto model may use both features side by side."""

    def prepare(given: dict[str, Any]) -> Sequence[str]:
        check_saved(given["load_clfs"], len(given["classnames"]))
        if given["save_clf"]:
            Path(given["save_clf"]).parent.mkdir(parents=True, exist_ok=True)
        return given["classnames"]

    return _wrap(original, prepare, mix=True)


def wrap_retrieval(original: Evaluate) -> Evaluate:
    """zeroshot_retrieval.evaluate: recall@k only where there are k to retrieve."""

    def prepare(given: dict[str, Any]) -> None:
        given["dataloader"] = _counted(given["dataloader"], given["recall_k_list"])

    return _wrap(original, prepare)


def wrap_selection(original: Evaluate) -> Evaluate:
    """image_caption_selection.evaluate: as many captions for each of the instances."""

    def prepare(given: dict[str, Any]) -> None:
        given["dataloader"] = _even(given["dataloader"])

    return _wrap(original, prepare)


def wrap_probe(original: Evaluate) -> Evaluate:
    """linear_probe.evaluate; an auto model uses both features where all classes were seen."""
    return _wrap(original, lambda given: getattr(given["dataloader"].dataset, "classes", None))


def _wrap(
    original: Evaluate,
    prepare: Callable[[dict[str, Any]], Sequence[str] | None],
    *,
    mix: bool = False,
) -> Evaluate:
    """`prepare` may change the arguments, and returns the class names if there are any."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def evaluate(*args: Any, **kwargs: Any) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        class_names = prepare(given)
        with (
            _current(given["device"]) as given["device"],
            chosen_features(given["model"], class_names, mix=mix),
        ):
            return original(**given)

    return evaluate


@contextmanager
def _current(device: Any) -> Iterator[str]:
    """The type of a device, which means this very one inside: "cuda:1" -> "cuda"."""
    device = torch.device(device)
    if device.type == "cuda" and device.index is not None:
        with torch.cuda.device(device):
            yield device.type
    else:
        yield device.type


def check_saved(paths: Sequence[str], classes: int) -> None:
    """The classifiers to load are tensors [E, C] of one shape, a column for every class."""
    shapes = {}
    for path in paths:
        if not Path(path).is_file():
            raise UsageError(f"--load_clfs: there is no file {path}.")
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # pickle, zip and torch raise what they like
            raise ValueError(f"--load_clfs: {path} cannot be read ({error!r:.200}).") from error
        if not isinstance(saved, Tensor) or saved.ndim != 2:
            raise ValueError(f"--load_clfs: {path} is no classifier as --save_clf writes it.")
        if saved.shape[1] != classes:
            raise ValueError(
                f"--load_clfs: {path} is for {saved.shape[1]} classes, the data set has {classes}."
            )
        shapes[path] = tuple(saved.shape)
    if len(set(shapes.values())) > 1:
        raise ValueError(f"--load_clfs: only classifiers of one shape can be averaged: {shapes}.")


def _counted(batches: Iterable[Any], recall_k: Sequence[int]) -> Iterator[Any]:
    """The same batches; ValueError behind the last one if there is less than k to choose from."""
    if min(recall_k) < 1:
        raise UsageError(f"--recall_k {min(recall_k)}: give 1 or more.")
    images = texts = 0
    for pictures, captions in batches:
        _require_captions(captions)
        images += len(pictures)
        texts += sum(map(len, captions))
        yield pictures, captions
    if not images:
        raise ValueError("there are no images to retrieve.")
    for count, what in ((images, "images"), (texts, "captions")):
        if max(recall_k) > count:
            raise ValueError(
                f"--recall_k {max(recall_k)} asks for more than the {count} {what} there are."
            )


def _even(batches: Iterable[Any]) -> Iterator[Any]:
    for pictures, captions in batches:
        _require_captions(captions)
        counts = sorted({len(texts) for texts in captions})
        if len(counts) > 1:
            raise ValueError(
                f"image_caption_selection needs as many captions for every image: there are "
                f"images with {counts[0]} and with {counts[-1]}. --task zeroshot_retrieval takes "
                "any numbers."
            )
        yield pictures, captions


def _require_captions(captions: Any) -> None:
    if isinstance(captions, Tensor):
        raise UsageError(
            "this task needs captions, but the data set has labels: choose --task "
            "zeroshot_classification."
        )
