"""Whether a built model supports representation tokens.

The functions that end in `_reason` return what stands in the way, as the end of a sentence that
begins "... does not support representation tokens:", or None where nothing does.
"""

from __future__ import annotations

from open_clip.transformer import VisionTransformer
from torch import nn

from ..errors import UsageError
from .base_config import POOL_TYPES, lowest_start_layer
from .blocks import blocks_of
from .text_tower import TextTower


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
    lowest = lowest_start_layer(text, image)
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
