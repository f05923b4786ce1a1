"""Small operations on features and logits, for training and evaluation.

Shapes: B (or N) images, C classes, E embedding width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import FUSIONS
from ..errors import UsageError
from ..utils.devices import without_autocast

if TYPE_CHECKING:
    from .mmrl_clip import MMRLCLIP


def unit(feature: Tensor) -> Tensor:
    """Scale to unit length along the last dimension, in float32 or better."""
    if feature.dtype in (torch.float16, torch.bfloat16):
        feature = feature.float()
    return F.normalize(feature, dim=-1)


def cosine_logits(model: MMRLCLIP, image: Tensor, text: Tensor) -> Tensor:
    """Return the logits [B, C] of unit features [B, E] and [C, E], outside of autocast.

    Scale and bias are the model's own: `exp(logit_scale)` is 100, the released code's constant,
    for OpenAI's weights only. Autocast would round the logits to half precision.
    """
    with without_autocast(image.device):
        bias = 0 if model.logit_bias is None else model.logit_bias
        return model.logit_scale.exp() * image @ text.T + bias


def logit_scale(model: MMRLCLIP) -> float:
    """Return what `cosine_logits` multiplies cosines by."""
    return model.logit_scale.exp().item()


def mix(
    by_class: Tensor,
    by_rep: Tensor | None,
    alpha: float,
    fusion: str = "logits",
    seen: Tensor | None = None,
) -> Tensor:
    """Mix the logits of both features -> scores, [N, C].

    Args:
        by_class: logits of the class feature, [N, C].
        by_rep: logits of the representation feature, [N, C]; None returns `by_class`.
        alpha: weight of `by_class`.
        fusion: "logits" as the released code, which made the published numbers; "probabilities"
            as the paper's text (returned as log probabilities).
        seen: which classes are mixed, bool [C]: those seen in training. The others keep the class
            feature's logits or probabilities; None mixes all.

    Raises:
        UsageError: no such fusion.
    """
    if fusion not in FUSIONS:
        raise UsageError(f"fusion is {fusion!r}; it has to be one of {FUSIONS}.")
    if by_rep is None:
        return by_class
    if fusion == "probabilities":
        by_class, by_rep = by_class.softmax(-1), by_rep.softmax(-1)
    mixed = alpha * by_class + (1 - alpha) * by_rep
    if seen is not None:
        mixed = torch.where(seen, mixed, by_class)
    return mixed if fusion == "logits" else mixed.log()
