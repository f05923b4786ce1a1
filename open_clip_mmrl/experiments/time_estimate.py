"""An estimate of how long a run will take, from counted operations and one timed matrix product.

It is rough, by a factor of two either way: images are not read, and small models are bound by
other things than arithmetic. It tells minutes from days before anything is started.
"""

from __future__ import annotations

import time
from statistics import median

import torch
from torch.nn import functional as F

from ..config import VARIANTS
from ..data import ImageData
from ..data.prompts import prompts
from ..data.sampling import shots_number
from ..hub.base_place import base_config
from ..hub.catalog import image_tower_of
from ..hub.names import ModelName
from ..hub.registered import registered_config
from ..models.base_config import depths, has_text_tokens
from ..models.precision import half_type
from .run_spec import FewShotRun
from .tune import BETAS, LAMBDAS

_EFFICIENCY = 0.7
"""Share of a step that is matrix products, as profiled at ViT-B/16."""
_TOKENS_PER_WORD = 1.5


def seconds_of(run: FewShotRun, data: ImageData, rate: float) -> float:
    """Estimate the seconds of one run: training, and one pass over its test images.

    Args:
        run: the run.
        data: its data set, whole.
        rate: operations per second, see `matrix_product_rate`.
    """
    name = ModelName.parse(run.model)
    settings = {**registered_config(name), **run.settings}
    config = base_config(name)
    assert config is not None  # or it would not be registered
    image, vision = image_tower_of(config), config["vision_cfg"]
    text = {"width": 512, "context_length": 77, **config["text_cfg"]}
    layers = (depths(config)[0] or image.layers) - settings["start_layer"] + 1
    size, patch = vision.get("image_size", 224), vision.get("patch_size", 16)
    rows = (size // patch) ** 2 + 1 if isinstance(size, int) else 197
    per_image = rows * _per_row(image.width, rows)
    lengths = [len(text.split()) for text in prompts(data.class_names, data.template)]
    words = sum(lengths) / len(lengths) * _TOKENS_PER_WORD + 2
    if text.get("no_causal_mask"):
        words = text["context_length"]  # padding is run too
    seen = (data.num_classes + 1) // 2 if run.classes == "base" else data.num_classes
    # Frozen layers once, the upper ones for the frozen branch, and forward and backward with
    # tokens; no gradients of weights.
    image_step = per_image * (image.layers + 2 * layers)
    text_step = seen * words * _per_row(text["width"], words) * 2 * layers
    if not has_text_tokens(config):
        text_step = 0
    operations = len(data.test) * per_image * (image.layers + layers)
    if run.method in VARIANTS:
        images = min(shots_number(run.shots) * seen, max(len(data.train), 1))
        steps = run.train.steps(images)
        batch = min(run.train.batch_size, images)
        training = steps * (batch * image_step + text_step)
        operations += training * (1 + _selecting(run))
    elif run.method == "linear_probe":
        operations += (
            min(shots_number(run.shots) * seen, len(data.train)) * per_image * image.layers
        )
    return operations / (rate * _EFFICIENCY)


def _selecting(run: FewShotRun) -> float:
    """Return what hyperparameter selection takes, in trainings of the run itself; see `tune`."""
    if run.settings_source != "validation" or run.shots == 1:
        return 0
    # beta is tried once more for all but the usual one.
    tried = len(LAMBDAS) + (len(BETAS) - 1 if run.method == "mmrl++" else 0)
    return tried * 0.75 * (0.5 if run.classes == "base" else 1)


def _per_row(width: int, rows: float) -> float:
    """Return the operations of one transformer layer for one of its rows."""
    return 24 * width**2 + 4 * rows * width


_ROWS = 2048


@torch.no_grad()
def matrix_product_rate(
    device: torch.device, precision: str = "fp32", size: int = 768, repeats: int = 5
) -> float:
    """Measure the operations per second of a matrix product as in the towers.

    A linear layer from `size` to 4 * `size` over 2048 rows, all of it in the type of a precision.
    A multiplication and an addition are two operations. The median of `repeats`, after one more
    to warm up.
    """
    dtype = half_type(precision) or torch.float32
    x = torch.randn(_ROWS, size, device=device, dtype=dtype)
    weight = torch.randn(4 * size, size, device=device, dtype=dtype)
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        F.linear(x, weight)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return 2 * _ROWS * size * 4 * size / median(taken[1:])
