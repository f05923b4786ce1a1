"""The small CLIP that ships with the package, and the characters it was trained on.

``tiny_clip.safetensors`` holds an open_clip ``CLIP`` of about one and a half million weights,
trained from scratch on printed characters; ``tiny_clip.json`` holds the model config, the
preprocessing of its images and a record of the training. `characters` and `glyphs` draw the
characters, also for the data set `scrawl`. `train_tiny_clip`, `training` and `reading` train and
measure the model; they are in the repository, not in the wheel. Of the other rooms, only `utils`
may be imported; this module needs the standard library only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MODEL_NAME = "ViT-Ti-8-glyphs"
"""Name of the architecture: a tiny ViT with patches of 8 pixels, on images of 32 x 32."""

TAG = "printed"
"""Tag of the weights, after what they were trained on."""

_FOLDER = Path(__file__).resolve().parent
_MODEL_KEYS = ("embed_dim", "vision_cfg", "text_cfg")


def _read() -> dict[str, Any]:
    """Read the whole of tiny_clip.json."""
    return json.loads((_FOLDER / "tiny_clip.json").read_text(encoding="utf-8"))


def model_config() -> dict[str, Any]:
    """Return the open_clip model config: ``open_clip.CLIP(**model_config())`` fits the weights.

    Returns:
        A new dict with ``embed_dim`` (int), ``vision_cfg`` and ``text_cfg`` (dicts).
    """
    content = _read()
    return {key: content[key] for key in _MODEL_KEYS}


def weights_path() -> Path:
    """Return the path of the fp16 safetensors file that ``open_clip.load_checkpoint`` reads.

    Raises:
        FileNotFoundError: the file is missing from the installation.
    """
    path = _FOLDER / "tiny_clip.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; reinstall the package")
    return path


def pretrained_config() -> dict[str, Any]:
    """Return the weights as an entry of open_clip's registry of pretrained weights.

    Returns:
        A new dict: ``file`` (path, str), ``mean`` and ``std`` (three floats each, for images in
        0..1), ``interpolation`` and ``resize_mode`` (str).
    """
    return {"file": str(weights_path()), **_read()["preprocess"]}


def training_record() -> dict[str, Any]:
    """Return how the weights were made: command, date, seconds, device, accuracies and versions."""
    return _read()["record"]
