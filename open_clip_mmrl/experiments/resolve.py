"""What a run's names stand for: checked, and its data read, before anything is computed."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch

from ..data import Example, ImageData, load_data
from ..data.example import ShardImage
from ..data.more_prompts import MorePrompts
from ..data.sampling import hold_back
from ..errors import UsageError
from ..evaluation.calibration import require_calibration_packages
from ..hub.adapter_header import MAX_HELD_BACK, HeldBack
from ..hub.load import resolve_name, resolve_pretrained
from ..utils.devices import pick_device
from ..utils.text import listing
from .run_spec import FewShotRun, Runtime

logger = logging.getLogger(__name__)


class HeldBackImages(NamedTuple):
    """Images to calibrate with, and what they are."""

    source: HeldBack
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class ResolvedRun:
    """A run with its folder, device and data.

    Attributes:
        pretrained: tag or weights file of the base model, where the run has None.
        subset: the images and classes that are trained on.
        digests: of `subset`, see `images_digests`.
        held_back: images of these classes that are not trained on; None for a run that does not
            calibrate.
    """

    run: FewShotRun
    folder: Path
    runtime: Runtime
    device: torch.device
    pretrained: str
    data: ImageData
    subset: ImageData
    digests: tuple[str, ...]
    held_back: HeldBackImages | None = None


def resolve(run: FewShotRun, folder: Path, runtime: Runtime) -> ResolvedRun:
    """Check model, weights and device, and read the data.

    Raises:
        UsageError: a name that is not known.
        ValueError: the data cannot be read.
    """
    device = pick_device(runtime.device)
    pretrained = resolve_pretrained(resolve_name(run.model, run.variant), run.pretrained)
    data = data_of(run, quiet=runtime.quiet)
    require_tested(data, run)
    subset, held_back = _subset(data, run), None
    if run.calibrate:
        require_calibration_packages()
        subset, held_back = _hold_back(subset, run)
    digests = images_digests(subset)
    return ResolvedRun(run, folder, runtime, device, pretrained, data, subset, digests, held_back)


def data_of(run: FewShotRun, *, quiet: bool = False) -> ImageData:
    """Return the data set that a run trains and tests on, whole.

    A folder without splits has no validation images either. Where they are to be scored, they are
    a quarter of each class's images that are not for testing, the same for every run.
    """
    data = load_data(
        run.data, data_root=run.data_root, template=run.template, quiet=quiet, folder=run.folder
    )
    data = data.with_prompts(MorePrompts.from_json(run.prompts))
    if run.test_split == "test" or data.drawn is None or data.val:
        return data
    data = with_drawn_val(data)
    logger.info(
        "%s: %d of %d images to train on are for validation: a quarter of each class.",
        run.data, len(data.val), len(data.train) + len(data.val),
    )  # fmt: skip
    return data


def with_drawn_val(data: ImageData) -> ImageData:
    """Return a folder's data with validation images out of its training images; see `data_of`."""
    assert data.drawn is not None
    val = set(hold_back([example.label for example in data.train], seed=data.drawn.seed))
    return replace(
        data,
        train=tuple(e for index, e in enumerate(data.train) if index not in val),
        val=tuple(e for index, e in enumerate(data.train) if index in val),
    )


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
            "%d of %d classes have fewer than %s training images, which are all used: %s.",
            len(short), data.num_classes, run.shots, names,
        )  # fmt: skip
    return data.few_shot(run.shots, run.train.seed).select(run.classes)


def _hold_back(subset: ImageData, run: FewShotRun) -> tuple[ImageData, HeldBackImages]:
    """Divide the images into those to train on and those to calibrate with."""
    seed, source = run.train.seed, "val"
    held_back, kept = subset.val, subset.train
    if not held_back or run.test_split == "val":
        drawn = set(hold_back([example.label for example in subset.train], seed))
        if not drawn:
            raise UsageError(
                f"to calibrate, images are held back from training, but {run.data} has no val "
                "images and every class has one training image: give more shots."
            )
        source = "shots"
        held_back = tuple(subset.train[index] for index in sorted(drawn))
        kept = tuple(e for index, e in enumerate(subset.train) if index not in drawn)
    if len(held_back) > MAX_HELD_BACK:
        held_back = tuple(Random(seed).sample(held_back, MAX_HELD_BACK))
    logger.info(
        "Calibrating with %d images that are not trained on (%s); %d are trained on.",
        len(held_back), "val" if source == "val" else "a quarter of the shots", len(kept),
    )  # fmt: skip
    return replace(subset, train=kept), HeldBackImages(source, held_back)
