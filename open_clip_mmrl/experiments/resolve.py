"""What a run's names stand for: checked, and its data read, before anything is computed."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..data import ImageData, load_data
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
        digest: of `subset`, see `images_digest`.
    """

    run: FewShotRun
    folder: Path
    runtime: Runtime
    device: torch.device
    pretrained: str
    data: ImageData
    subset: ImageData
    digest: str


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
    digest = images_digest(subset)
    return ResolvedRun(run, folder, runtime, device, pretrained, data, subset, digest)


def require_tested(data: ImageData, run: FewShotRun) -> None:
    """Check that the run's test split has images, in each half where the classes are divided.

    Raises:
        ValueError: it has none, or there are too few classes to divide.
    """
    for half in ("base", "novel") if run.classes == "base" else ("all",):
        if not data.select(half).split(run.test_split):
            of_half = "" if half == "all" else f" of {half} classes"
            raise ValueError(f"{data.spec} has no {run.test_split} images{of_half} to score.")


def images_digest(subset: ImageData) -> str:
    """Return what tells one set of training images from another.

    It covers class names, template, labels, and the paths of images, or their pixels where they
    are in memory. Not the content of files: a broken image may be repaired before a run resumes.
    """
    state = hashlib.sha256(repr((subset.class_names, subset.template)).encode())
    for example in subset.train:
        if isinstance(example.image, np.ndarray):
            state.update(example.image.tobytes() + repr(example.label).encode())
        else:
            state.update(repr((str(example.image), example.label)).encode())
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
