"""Which family a text tower is of, by its modules; never by the model's name.

`causal`         open_clip's own, causal (CLIP)
`bidirectional`  open_clip's own, without a mask (SigLIP, CLIPA)
`hugging_face`   takes no tokens
"""

from __future__ import annotations

from open_clip.hf_model import HFTextEncoder
from torch import nn

from ..base_config import BIDIRECTIONAL_POOL_TYPES, POOL_TYPES
from ..blocks import block_reason
from .bidirectional import BidirectionalTextTower
from .causal import CausalTextTower
from .hugging_face import HuggingFaceTextTower
from .tower import TextTower


def text_tower(model: nn.Module, token_layers: int = 1) -> TextTower:
    """Return the view of the text tower of an open_clip CLIP or CustomTextCLIP.

    Args:
        model: its `text_reason` is None.
        token_layers: n, layers with tokens, counted from the top.
    """
    holder = getattr(model, "text", model)
    if isinstance(holder, HFTextEncoder):
        return HuggingFaceTextTower(holder)
    is_causal = holder.attn_mask is not None
    return (CausalTextTower if is_causal else BidirectionalTextTower).of(model, token_layers)


def text_reason(model: nn.Module) -> str | None:
    """Return why a built model's text tower is of no family here, or None.

    The reason is the end of a sentence that begins "... does not support representation tokens:".
    """
    holder = getattr(model, "text", model)
    if isinstance(holder, HFTextEncoder):
        return None
    if not hasattr(holder, "token_embedding") or not hasattr(holder, "attn_mask"):
        return f"its text tower is a {type(holder).__name__}, not open_clip's TextTransformer"
    if getattr(holder, "cls_emb", None) is not None:
        return "its text tower reads an appended class token (CoCa)"
    if getattr(holder, "use_pad_mask", False):
        return "its text tower masks padding"
    tower = CausalTextTower.of(model)
    allowed = BIDIRECTIONAL_POOL_TYPES if tower.attn_mask is None else POOL_TYPES
    if tower.pool_type not in allowed:
        return f"its text tower pools by {tower.pool_type!r}, not one of {allowed}"
    if tower.pool_type == "eos" and tower.eos_id < 0:
        return "its text tower pools at an end token without an eos_id"
    return block_reason(tower.transformer.resblocks[0])
