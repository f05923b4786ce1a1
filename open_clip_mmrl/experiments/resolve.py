"""What a run's names stand for: checked, and its data read, before anything is computed."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..data import Example, ImageData, load_data
from ..data.example import ShardImage
from ..hub.load import resolve_name, resolve_pretrained
from ..utils.devices import pick_device
from ..utils.text import listing
from .run_spec import FewShotRun, Runtime

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResolvedRun:
    """A run with its folder, device and data.

    Attributes:
        pretrained: tag or weights file of the base model, where the run has None.
        subset: the images and classes that are trained on.
        digests: of `subset`, see `images_digests`.
    """

    run: FewShotRun
    folder: Path
    runtime: Runtime
    device: torch.device
    pretrained: str
    data: ImageData
    subset: ImageData
    digests: tuple[str, ...]


def resolve(run: FewShotRun, folder: Path, runtime: Runtime) -> ResolvedRun:
    """Check model, weights and device, and read the data.

    Raises:
        UsageError: a name that is not known.
        ValueError: the data cannot be read.
    """
    device = pick_device(runtime.device)
    pretrained = resolve_pretrained(resolve_name(run.model, run.variant), run.pretrained)
    data = load_data(run.data, data_root=run.data_root, template=run.template, quiet=runtime.quiet)
    require_tested(data, run)
    subset = _subset(data, run)
    digests = images_digests(subset)
    return ResolvedRun(run, folder, runtime, device, pretrained, data, subset, digests)


def require_tested(data: ImageData, run: FewShotRun) -> None:
    """Check that the run's test split has images, in each half where the classes are divided.

    Raises:
        ValueError: it has none, or there are too few classes to divide.
    """
    for half in ("base", "novel") if run.classes == "base" else ("all",):
        if not data.select(half).split(run.test_split):
            of_half = "" if half == "all" else f" of {half} classes"
            raise ValueError(f"{data.spec} has no {run.test_split} images{of_half} to score.")


def images_digests(subset: ImageData) -> tuple[str, ...]:
    """Return what tells one set of training images from another.

    It covers class names, template, labels, and the paths of images, or their pixels where they
    are in memory. Not the content of files: a broken image may be repaired before a run resumes.
    Paths are relative to the folder of all images, so that it does not matter from where they are
    seen. Earlier versions took them as they were given; what they may have written follows.
    """
    files = [path for example in subset.train if (path := _file(example))]
    shared = os.path.commonpath([path.absolute().parent for path in files]) if files else ""

    def relative(path: Path) -> str:
        return os.path.relpath(path, shared).replace(os.sep, "/")

    spellings = (relative, str, os.path.abspath, os.path.relpath)
    return tuple(dict.fromkeys(_digest(subset, spelling) for spelling in spellings))


def _file(example: Example) -> Path | None:
    """Return the file that holds the image."""
    image = example.image.shard if isinstance(example.image, ShardImage) else example.image
    return image if isinstance(image, Path) else None


def _digest(subset: ImageData, spelling: Callable[[Path], str]) -> str:
    state = hashlib.sha256(repr((subset.class_names, subset.template)).encode())
    for example in subset.train:
        if isinstance(example.image, np.ndarray):
            state.update(example.image.tobytes() + repr(example.label).encode())
            continue
        name, path = str(example.image), _file(example)
        if path is not None:
            name = name.replace(str(path), spelling(path))
        state.update(repr((name, example.label)).encode())
    return state.hexdigest()[:16]


def _subset(data: ImageData, run: FewShotRun) -> ImageData:
    """Draw the images that are trained on, from all classes, then select the classes."""
    if run.method == "zeroshot" and not data.train:
        return data.select(run.classes)
    short = data.shortfall(run.shots)
    if short and run.method != "zeroshot":
        names = listing((f"{name} ({count})" for name, count in short.items()), limit=5)
        logger.warning(
            "%d of %d classes have fewer than %d training images, which are all used: %s.",
            len(short), data.num_classes, run.shots, names,
        )  # fmt: skip
    return data.few_shot(run.shots, run.train.seed).select(run.classes)
