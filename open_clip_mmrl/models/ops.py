"""Small operations on features and logits that several rooms share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import FUSIONS
from ..errors import UsageError

if TYPE_CHECKING:
    from .mmrl_clip import MMRLCLIP


def unit(feature: Tensor) -> Tensor:
    """Unit vectors along the last dimension, in float32 or better whatever the towers ran in."""
    if feature.dtype in (torch.float16, torch.bfloat16):
        feature = feature.float()
    return F.normalize(feature, dim=-1)


def cosine_logits(model: MMRLCLIP, image: Tensor, text: Tensor) -> Tensor:
    """Unit features [B, E] and [C, E] -> logits [B, C], by the model's own scale and bias.

    Outside of autocast, which would round them to half precision.
    """
    with torch.autocast(image.device.type, enabled=False):
        bias = 0 if model.logit_bias is None else model.logit_bias
        return model.logit_scale.exp() * image @ text.T + bias


def mix(by_class: Tensor, by_rep: Tensor | None, alpha: float, fusion: str = "logits") -> Tensor:
    """Scores from the logits of both features, [N, C]; without the second, those of the first.

    fusion: "logits" as the released code, which made the published numbers; "probabilities" as
    the paper's text (returned as log probabilities).
    """
    if fusion not in FUSIONS:
        raise UsageError(f"fusion is {fusion!r}; it has to be one of {FUSIONS}.")
    if by_rep is None:
        return by_class
    if fusion == "logits":
        return alpha * by_class + (1 - alpha) * by_rep
    return (alpha * by_class.softmax(-1) + (1 - alpha) * by_rep.softmax(-1)).log()
