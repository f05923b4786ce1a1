"""Random pictures, and a tiny model with an open_clip preprocessing config."""

from __future__ import annotations

import numpy as np
from open_clip.model import set_model_preprocess_cfg
from PIL import Image

from helpers.tiny import tiny_clip

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def model(**cfg):
    """Something with an open_clip preprocessing config."""
    clip = tiny_clip()
    values = {"size": 16, "mean": MEAN, "std": STD, "interpolation": "bicubic"}
    set_model_preprocess_cfg(clip, {**values, "resize_mode": "shortest", **cfg})
    return clip


def picture(seed=0, height=30, width=20):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)
