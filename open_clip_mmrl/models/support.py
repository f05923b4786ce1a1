"""Whether a base supports representation tokens, by its open_clip config or by the model.

The functions that end in `_reason` return what stands in the way, as the end of a sentence that
begins "... does not support representation tokens:", or None where nothing does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from open_clip.transformer import VisionTransformer
from torch import nn

from ..errors import UsageError
from .blocks import blocks_of
from .text_tower import TextTower

POOL_TYPES = ("argmax", "eos", "last")


def unsupported_reason(config: Mapping[str, Any]) -> str | None:
    """Return why a base with this open_clip config does not support tokens, or None."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "multimodal_cfg" in config:
        return "it is a CoCa model, whose towers pool by other means than class token and EOT"
    if "timm_model_name" in vision:
        return (
            f"its image tower is timm's {vision['timm_model_name']}, not open_clip's "
            "VisionTransformer with a class token"
        )
    if isinstance(vision.get("layers", 12), list | tuple):
        return "its image tower is a ResNet, which has no tokens"
    if vision.get("attentional_pool") or vision.get("pool_type", "tok") != "tok":
        return "its image tower does not pool by a class token"
    if "hf_model_name" in text:
        return f"its text tower is {text['hf_model_name']}, not open_clip's TextTransformer"
    if text.get("no_causal_mask"):
        return "its text tower is not causal"
    if text.get("embed_cls") or text.get("pool_type", "argmax") not in POOL_TYPES:
        return "its text tower does not pool at the end of the prompt"
    return None


def unsupported_model_reason(model: nn.Module) -> str | None:
    """Return why a built CLIP or CustomTextCLIP does not support tokens, or None."""
    return image_reason(getattr(model, "visual", None)) or text_reason(model)


def check_model(model: nn.Module, start_layer: int) -> None:
    """Check that a built CLIP or CustomTextCLIP supports tokens from this text layer on.

    Raises:
        ValueError: its towers do not support representation tokens.
        UsageError: it has no such text layer, or too few image layers for it.
    """
    reason = unsupported_model_reason(model)
    if reason:
        raise ValueError(f"this model does not support representation tokens: {reason}.")
    visual = model.visual
    assert isinstance(visual, VisionTransformer)  # or there was a reason
    text = len(blocks_of(TextTower.of(model).transformer))
    image = len(blocks_of(visual.transformer))
    lowest = max(1, text - image + 1)
    if not lowest <= start_layer <= text:
        raise UsageError(
            f"start_layer is {start_layer}, but this model has {text} text and {image} image "
            f"layers: allowed are {lowest} to {text}."
        )


def image_reason(visual: nn.Module | None) -> str | None:
    """Return why this image tower does not support tokens, or None."""
    if not isinstance(visual, VisionTransformer):
        return f"its image tower is a {type(visual).__name__}, not open_clip's VisionTransformer"
    if visual.attn_pool is not None or visual.pool_type != "tok":
        return "its image tower pools by other means than the class token"
    if visual.proj is None:
        return "its image tower has no projection"
    return block_reason(visual.transformer.resblocks[0])


def text_reason(model: nn.Module) -> str | None:
    """Return why this model's text tower does not support tokens, or None."""
    holder = getattr(model, "text", model)
    if not hasattr(holder, "token_embedding") or not hasattr(holder, "attn_mask"):
        return f"its text tower is a {type(holder).__name__}, not open_clip's TextTransformer"
    if getattr(holder, "cls_emb", None) is not None:
        return "its text tower reads an appended class token (CoCa)"
    tower = TextTower.of(model)
    if tower.attn_mask is None:
        return "its text tower is not causal"
    if tower.pool_type not in POOL_TYPES:
        return f"its text tower pools by {tower.pool_type!r}, not one of {POOL_TYPES}"
    return block_reason(tower.transformer.resblocks[0])


def block_reason(block: nn.Module) -> str | None:
    """Return why this block cannot be run row by row, or None."""
    attention = block.attn
    if getattr(attention, "in_proj_weight", None) is None:
        return "its attention has separate query, key and value weights"
    if getattr(attention, "logit_scale", None) is not None:
        return "it uses scaled cosine attention"
    return None
