"""An estimate of how long runs will take, from counted operations and a measured step.

It is rough, by a factor of two either way: images are not read. It tells minutes from days before
anything is started.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from ..data import ImageData
from ..data.prompts import prompts
from ..data.sampling import shots_number
from ..hub.base_place import base_config
from ..hub.catalog import image_tower_of
from ..hub.names import ModelName
from ..hub.registered import registered_config
from ..models.base_config import depths, has_text_tokens
from ..peers.methods import PEER_METHODS
from .run_spec import FewShotRun
from .tune.folds import FOLDS, FOLDS_OF_ALL_CLASSES
from .tune.select import settings_per_fold

_TOKENS_PER_WORD = 1.5
_SHARED = 0.4
"""Share of a step that is the frozen layers', which several settings have in common."""


class Work(NamedTuple):
    """Operations of the parts of a run; a multiplication and an addition are two."""

    image_step: float
    """Of a training step, for each image."""
    text_step: float
    """Of a training step, for all classes."""
    scoring: float
    """For each image."""
    frozen: float
    """The frozen tower alone, for each image."""

    @classmethod
    def of(cls, run: FewShotRun, class_names: Sequence[str], template: str) -> Work:
        """Count those of a run that trains on these classes."""
        name = ModelName.parse(run.model)
        settings = {**registered_config(name), **run.settings}
        config = base_config(name)
        assert config is not None  # or it would not be registered
        image, vision = image_tower_of(config), config["vision_cfg"]
        text = {"width": 512, "context_length": 77, **config["text_cfg"]}
        layers = (depths(config)[0] or image.layers) - settings["start_layer"] + 1
        size, patch = vision.get("image_size", 224), vision.get("patch_size", 16)
        rows = (size // patch) ** 2 + 1 if isinstance(size, int) else 197
        per_layer = rows * _per_row(image.width, rows)
        lengths = [len(text.split()) for text in prompts(class_names, template)]
        words = sum(lengths) / len(lengths) * _TOKENS_PER_WORD + 2
        if text.get("no_causal_mask"):
            words = text["context_length"]  # padding is run too
        text_step = len(class_names) * words * _per_row(text["width"], words) * 2 * layers
        return cls(
            # Frozen layers once, the upper ones for the frozen branch, and forward and backward
            # with tokens; no gradients of weights.
            image_step=per_layer * (image.layers + 2 * layers),
            text_step=text_step if has_text_tokens(config) else 0,
            scoring=per_layer * (image.layers + layers),
            frozen=per_layer * image.layers,
        )


class Rates(NamedTuple):
    """Operations per second, as `Work` counts them."""

    training: float
    scoring: float


def seconds_of(run: FewShotRun, data: ImageData, rates: Rates, *, trains: bool = True) -> float:
    """Estimate the seconds of one run: training, and one pass over its test images.

    Args:
        run: the run.
        data: its data set, whole.
        rates: of the device.
        trains: whether it trains, or takes the adapter of another run.
    """
    trained_on = data.select(run.classes)
    work, seen = Work.of(run, trained_on.class_names, data.template), trained_on.num_classes
    seconds = len(data.test) * work.scoring / rates.scoring
    images = min(shots_number(run.shots) * seen, max(len(data.train), 1))
    if run.method not in ("zeroshot", "linear_probe") and trains:  # methods of others as ours
        batch, steps = min(run.train.batch_size, images), run.train.steps(images)
        if run.peer is not None:
            steps = min(steps, PEER_METHODS[run.peer].max_steps(run.shots))
        step = (batch * work.image_step + work.text_step) / rates.training
        seconds += steps * step * (1 + _selecting(run))
    elif run.method == "linear_probe":
        seconds += images * work.frozen / rates.scoring
    return seconds


def makespan(stages: Sequence[Sequence[float]], workers: int) -> float:
    """Return the seconds of stages one after the other, each dealt out to workers in order."""
    total = 0.0
    for stage in stages:
        ends = [0.0] * workers
        for seconds in stage:
            heapq.heapreplace(ends, ends[0] + seconds)
        total += max(ends)
    return total


def _selecting(run: FewShotRun) -> float:
    """Return what hyperparameter selection takes, in trainings of the run itself; see `tune`."""
    if run.settings_source != "validation" or run.shots == 1:
        return 0
    on_base = run.classes == "base"
    count, share = (FOLDS, 0.5 * (1 - 1 / FOLDS)) if on_base else (FOLDS_OF_ALL_CLASSES, 0.5)
    trained = sum(settings_per_fold(run.method or "mmrl", count))
    return share * (_SHARED * count + (1 - _SHARED) * trained)


def _per_row(width: int, rows: float) -> float:
    """Return the operations of one transformer layer for one of its rows."""
    return 24 * width**2 + 4 * rows * width
