"""How long a run will take, from counting operations and one timed matrix product.

Rough by nature (a factor of two either way): images are not read, and small models are bound by
other things than arithmetic. It tells minutes from days before anything is started.
"""

from __future__ import annotations

import open_clip

from .config import VARIANTS
from .data import ImageData
from .data.prompts import prompts
from .names import split_name
from .registry import registered_config
from .runs import FewShotRun
from .selection import BETAS, LAMBDAS

_EFFICIENCY = 0.7
"""Share of a step that is matrix products, as profiled at ViT-B/16."""
_TOKENS_PER_WORD = 1.5


def seconds_of(run: FewShotRun, data: ImageData, rate: float) -> float:
    """Estimated seconds of one run: training, and one pass over the images it is tested on."""
    config = open_clip.get_model_config(split_name(run.model)[1])
    settings = {**registered_config(run.model), **run.settings}
    vision, text = config["vision_cfg"], config["text_cfg"]
    layers = text["layers"] - settings["start_layer"] + 1
    size, patch = vision.get("image_size", 224), vision.get("patch_size", 16)
    rows = (size // patch) ** 2 + 1 if isinstance(size, int) else 197
    per_image = rows * _per_row(vision["width"], rows)
    lengths = [len(text.split()) for text in prompts(data.class_names, data.template)]
    words = sum(lengths) / len(lengths) * _TOKENS_PER_WORD + 2
    seen = (data.num_classes + 1) // 2 if run.classes == "base" else data.num_classes
    # Frozen layers once, the upper ones for the frozen branch, and forward and backward with
    # tokens; no gradients of weights.
    image_step = per_image * (vision["layers"] + 2 * layers)
    text_step = seen * words * _per_row(text["width"], words) * 2 * layers
    operations = len(data.test) * per_image * (vision["layers"] + layers)
    if run.method in VARIANTS:
        images = min(run.shots * seen, max(len(data.train), 1))
        steps = max(images // run.train.batch_size, 1) * run.train.epochs
        batch = min(run.train.batch_size, images)
        training = steps * (batch * image_step + text_step)
        operations += training * (1 + _choosing(run))
    elif run.method == "linear_probe":
        operations += min(run.shots * seen, len(data.train)) * per_image * vision["layers"]
    return operations / (rate * _EFFICIENCY)


def _choosing(run: FewShotRun) -> float:
    """What choosing settings takes, in trainings of the run itself; see `selection.py`."""
    if run.settings_source != "validation" or run.shots < 2:
        return 0
    # beta is tried once more for all but the usual one.
    tried = len(LAMBDAS) + (len(BETAS) - 1 if run.method == "mmrl++" else 0)
    return tried * 0.75 * (0.5 if run.classes == "base" else 1)


def _per_row(width: int, rows: float) -> float:
    """Operations of one transformer layer for one of its rows."""
    return 24 * width**2 + 4 * rows * width


def in_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h` or `2.1 days`."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}".replace(".0 ", " ")
    return f"{max(seconds, 1):.0f} s"
