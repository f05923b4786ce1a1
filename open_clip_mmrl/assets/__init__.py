"""The small CLIP that ships with the package: its name, its config and where its weights lie.

``tiny_clip.safetensors`` holds a real open_clip ``CLIP`` of about one and a half million trained
weights, trained from scratch on printed characters by ``train_tiny_clip.py`` beside it.
``tiny_clip.json`` holds the model config, what its pictures go through, and a record of the
training.  This module needs the standard library only.
"""

from __future__ import annotations

import json
from pathlib import Path

MODEL_NAME = "ViT-Ti-8-glyphs"
"""Name of the architecture: a tiny ViT with patches of 8 pixels, on pictures of 32."""

TAG = "printed"
"""Tag of the weights, after what they were trained on."""

_FOLDER = Path(__file__).resolve().parent
_MODEL_KEYS = ("embed_dim", "vision_cfg", "text_cfg")


def _read() -> dict:
    """The whole of tiny_clip.json."""
    return json.loads((_FOLDER / "tiny_clip.json").read_text(encoding="utf-8"))


def model_config() -> dict:
    """The open_clip model config, so that ``open_clip.CLIP(**model_config())`` fits the weights.

    Returns:
        A fresh dict with ``embed_dim`` (int), ``vision_cfg`` and ``text_cfg`` (dicts).
    """
    content = _read()
    return {key: content[key] for key in _MODEL_KEYS}


def weights_path() -> Path:
    """Path of the fp16 safetensors file that ``open_clip.load_checkpoint`` reads.

    Raises:
        FileNotFoundError: the file is missing from the installation.
    """
    path = _FOLDER / "tiny_clip.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; reinstall the package, or train the weights anew with "
            f"`python -m open_clip_mmrl.assets.train_tiny_clip --output {_FOLDER}`"
        )
    return path


def pretrained_config() -> dict:
    """The weights as an entry of open_clip's registry of pretrained weights.

    Returns:
        A fresh dict: ``file`` (path, str), ``mean`` and ``std`` (three floats each, for pictures
        in 0..1), ``interpolation`` and ``resize_mode`` (str).
    """
    return {"file": str(weights_path()), **_read()["preprocess"]}


def training_record() -> dict:
    """How the weights were made: command, date, seconds, device, accuracies and versions."""
    return _read()["record"]
