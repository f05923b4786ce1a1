"""Exported files against the model they came from, on real images: differences, classes, speed.

Shapes: N images, C classes or prompts, E embedding width.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..data import load_data
from ..data.image_paths import image_paths
from ..data.loading.images import EVAL_BATCH, eval_transform
from ..errors import UsageError
from ..evaluation.image_batches import image_batches
from ..utils.text import counted
from .source import ClassMatrix, Source

logger = logging.getLogger(__name__)

Run = Callable[[np.ndarray], list[np.ndarray]]
MAX_IMAGES = 1024
_EACH = 32  # digits, and as many parts of photographs
_BATCH, _SECONDS = 16, 0.3
_EXACT = 1e-3
"""Largest difference of unit features in float32; more is a wrong export."""


@dataclass(frozen=True)
class Check:
    """What a comparison of image features has shown."""

    images: int
    largest_difference: float
    """Of any value of the features, which have unit length."""
    same_top1: int
    """Images with the same most probable class."""
    images_per_second: float
    torch_images_per_second: float
    threads: int

    def lines(self, runtime: str) -> list[str]:
        """Return the results in words; `runtime` is what runs the file."""
        percent = 100 * self.same_top1 / self.images
        return [
            f"compared with PyTorch in float32 on {self.images} images: the largest difference of "
            f"unit features is {self.largest_difference:.1e}, the top-1 class the same for "
            f"{self.same_top1} ({percent:.1f} %)",
            f"images per second, batches of {_BATCH}, {counted(self.threads, 'thread')} of this "
            f"CPU: {runtime} {self.images_per_second:,.0f}, PyTorch "
            f"{self.torch_images_per_second:,.0f}",
        ]


def check_inputs(source: Source, paths: Sequence[str | Path] = ()) -> Tensor:
    """Return preprocessed images [N, 3, H, W]: those of `paths`, or some that scikit-learn has.

    Raises:
        UsageError: a path without images, or only images that cannot be read.
    """
    transform = eval_transform(source.loaded.model)
    if not paths:
        return torch.stack([transform(image) for image in _shipped_images()])
    found = image_paths(paths)
    if found.missing:
        path, reason = next(iter(found.missing.items()))
        raise UsageError(f"no image to compare on in {path!r}: {reason}.")
    read = chain.from_iterable(image_batches(found.images[:MAX_IMAGES], transform))
    answers = list(read)
    images = [image for image in answers if isinstance(image, Tensor)]
    if not images:
        count = counted(len(found.images), "image")
        raise UsageError(f"none of {count} can be read, such as {found.images[0]} ({answers[0]}).")
    return torch.stack(images)


def _shipped_images() -> list[Image.Image]:
    """Return handwritten digits, and parts of two photographs at several scales."""
    from sklearn.datasets import load_sample_images

    digits = [example.image for example in islice(load_data("digits").test, _EACH)]
    parts = []
    for photo in load_sample_images().images:  # uint8 [427, 640, 3]
        for i in range(_EACH // 2):
            side = 64 + 24 * i
            top, left = i * (photo.shape[0] - side) // 16, i * (photo.shape[1] - side) // 16
            parts.append(photo[top : top + side, left : left + side])
    return [Image.fromarray(np.asarray(array)).convert("RGB") for array in (*digits, *parts)]


@torch.no_grad()
def compare_images(
    module: nn.Module, run: Run, images: Tensor, classes: ClassMatrix, *, exact: bool
) -> Check:
    """Compare a file's features with the module's.

    Args:
        module: in float32, in evaluation mode.
        run: runs the file.
        images: [N, 3, H, W].
        classes: by which images are classified.
        exact: the file is in float32, too.

    Raises:
        ValueError: it is exact, and the features differ by more than rounding.
    """
    ours, theirs = [], []
    for batch in images.split(EVAL_BATCH):
        ours.append([feature.numpy() for feature in module(batch)])
        theirs.append(run(batch.numpy()))
    one, other = ([np.concatenate(f) for f in zip(*rows, strict=True)] for rows in (ours, theirs))
    largest = _largest(one, other, exact)
    same = probabilities(one, classes).argmax(1) == probabilities(other, classes).argmax(1)
    if same.mean() < 0.98:
        logger.warning(
            "the exported file names another class than PyTorch for %d of %d images; float32 "
            "agrees best.", (~same).sum(), len(same),
        )  # fmt: skip
    few = images[:_BATCH].repeat(-(-_BATCH // len(images)), 1, 1, 1)[:_BATCH]
    array = few.numpy()
    return Check(
        images=len(images),
        largest_difference=largest,
        same_top1=int(same.sum()),
        images_per_second=_BATCH * _rate(lambda: run(array)),
        torch_images_per_second=_BATCH * _rate(lambda: module(few)),
        threads=torch.get_num_threads(),
    )


@torch.no_grad()
def compare_texts(module: nn.Module, run: Run, tokens: Tensor, *, exact: bool) -> float:
    """Return the largest difference of text features of token ids [C, context length].

    Raises:
        ValueError: see `compare_images`.
    """
    ours = [feature.numpy() for feature in module(tokens)]
    return _largest(ours, run(tokens.numpy()), exact)


def _largest(ours: list[np.ndarray], theirs: list[np.ndarray], exact: bool) -> float:
    pairs = zip(ours, theirs, strict=True)
    largest = float(max(np.abs(one - other).max() for one, other in pairs))
    if not largest <= (_EXACT if exact else 2):  # NaN, too
        raise ValueError(
            f"the exported file's features differ from the model's by up to {largest:.1e}: it "
            "computes something else. Nothing was written; another version of torch or "
            "onnxruntime may export it right."
        )
    return largest


def probabilities(features: list[np.ndarray], classes: ClassMatrix) -> np.ndarray:
    """Return probabilities [N, C] of one or two unit features [N, E]."""
    by_class, *rest = (
        _softmax(classes.scale * feature.astype(float) @ classes.text.T) for feature in features
    )
    return classes.alpha * by_class + (1 - classes.alpha) * rest[0] if rest else by_class


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def _rate(call: Callable[[], object]) -> float:
    """Return calls per second: the best of some, after one to warm up."""
    call()
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while (start := time.perf_counter()) < end:
        call()
        best = min(best, time.perf_counter() - start)
    return 1 / best
