"""Whether a built model supports representation tokens.

The functions that end in `_reason` return what stands in the way, as the end of a sentence that
begins "... does not support representation tokens:", or None where nothing does.
"""

from __future__ import annotations

from torch import nn

from ..errors import UsageError
from .base_config import POOL_TYPES, lowest_start_layer
from .blocks import block_reason, blocks_of
from .image_towers.families import image_reason, image_tower
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
    text = len(blocks_of(TextTower.of(model).transformer))
    visual = model.visual
    assert isinstance(visual, nn.Module)  # or there was a reason
    image = image_tower(visual).depth
    lowest = lowest_start_layer(text, image)
    if not lowest <= start_layer <= text:
        raise UsageError(
            f"start_layer is {start_layer}, but this model has {text} text and {image} image "
            f"layers: allowed are {lowest} to {text}."
        )


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
