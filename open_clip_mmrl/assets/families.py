"""Small models of other families of towers than CLIP's own, to train on printed characters.

They have the size of the model that ships with the package. timm builds their image towers from a
``config.json`` in a folder, so the open_clip config names that folder by its absolute path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
from torch import nn

from ..utils.files import json_bytes, write_atomically
from . import glyphs, reading

FAMILIES: dict[str, dict[str, Any]] = {
    "siglip": {
        "architecture": "vit_base_patch16_siglip_224",
        "vision_cfg": {"timm_pool": "map", "timm_proj": "none"},
        "text_cfg": {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
        "embed_dim": 128,  # without a projection, the image tower's width
        "init_logit_scale": 2.3026,  # log 10
        "init_logit_bias": -10,
    },
    "eva": {
        "architecture": "eva02_base_patch16_clip_224",
        "vision_cfg": {"timm_pool": "token", "timm_proj": None},
        "text_cfg": {},
    },
}
"""What differs from `reading.MODEL`, and timm's name of the image tower's architecture.

SigLIP: no class token, attention pooling, bidirectional text, sigmoid loss. EVA02: rotary
embeddings.
"""


def model_config(family: str, folder: Path) -> dict[str, Any]:
    """Return the open_clip config of a family, and write timm's part of it below ``folder``."""
    if family == "clip":
        return reading.MODEL
    changes = dict(FAMILIES[family])
    vision, tower = reading.MODEL["vision_cfg"], folder.resolve() / "timm"
    size = glyphs.IMAGE_SIZE
    content = {
        "architecture": changes.pop("architecture"),
        "model_args": {
            "img_size": size,
            "patch_size": vision["patch_size"],
            "embed_dim": vision["width"],
            "depth": vision["layers"],
            "num_heads": vision["width"] // vision["head_width"],
        },
        "pretrained_cfg": {"input_size": [3, size, size]},
    }
    tower.mkdir(parents=True, exist_ok=True)
    write_atomically(tower / "config.json", json_bytes(content))
    image = {"image_size": size, "timm_model_name": f"local-dir:{tower}"}
    return {
        **reading.MODEL,
        **changes,
        "custom_text": True,
        "vision_cfg": {**image, **changes["vision_cfg"]},
        "text_cfg": {**reading.MODEL["text_cfg"], **changes["text_cfg"]},
    }


def build(config: dict[str, Any]) -> reading.Model:
    """Build the model of a config with new weights."""
    custom = config.get("custom_text")
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    model = kind(**{k: v for k, v in config.items() if k != "custom_text"})
    head = getattr(getattr(model.visual, "trunk", None), "head", None)
    if isinstance(head, nn.Linear):
        # timm starts EVA's at a thousandth of this, for fine-tuning: from scratch nothing learns.
        nn.init.normal_(head.weight, std=head.in_features**-0.5)
    return model
