"""One training step as a module.

Shapes: B images, C classes, E embedding width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .losses import MMRLLoss
from .model import MMRLCLIP


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


class MMRLTask(nn.Module):
    """Images and labels in, loss and everything it was made of out.

    Frozen CLIP is the same towers without tokens: layers below J run once for both branches,
    and nothing of the frozen branch is differentiated. What the prompts need of frozen CLIP is
    computed here once; moving the task or loading a state dict into it computes that anew. Call
    `prepare()` where the base is changed behind the task's back.

    Args:
        model: the model to train.
        tokens: one prompt per class, [C, context length], as the model's tokenizer gives them.
        text_chunk_size: prompts at a time, computed again in the backward pass: bounds the
            memory where there are many classes. None takes all at once, which is faster.
    """

    def __init__(self, model: MMRLCLIP, tokens: Tensor, text_chunk_size: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("tokens", tokens.to(model.visual.proj.device), persistent=False)
        self.text_chunk_size = text_chunk_size
        self.register_load_state_dict_post_hook(_prepare_again)
        self.prepare()

    @torch.no_grad()
    def prepare(self) -> None:
        """Compute what only frozen CLIP and the prompts decide."""
        with torch.autocast(self.tokens.device.type, enabled=False):
            self._prompts = self.model.text_tower.lower(self.tokens)
            self.frozen_text_features = unit(self.model.frozen_text_features(self._prompts))

    def _apply(self, fn, *args, **kwargs):
        super()._apply(fn, *args, **kwargs)
        self.prepare()
        return self

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """images [B, 3, H, W], labels [B] in 0..C-1.

        Returns:
            loss []; logits, logits_rep, logits_fused [B, C]; image_features,
            image_features_rep, frozen_image_features [B, E] and text_features,
            frozen_text_features [C, E], all of unit length.
        """
        model, alpha = self.model, self.model.config.alpha
        image_tokens, text_tokens = model.learner()
        with torch.no_grad():
            hidden = model.image_tower.lower(images)
            frozen_image = unit(model.frozen_image_features(hidden))
        both = model.adapted_image_features(hidden, image_tokens)
        text = unit(model.adapted_text_features(self._prompts, text_tokens, self.text_chunk_size))
        image, image_rep = unit(both.class_), unit(both.representation)
        logits = cosine_logits(model, image, text)
        logits_rep = cosine_logits(model, image_rep, text)
        with torch.autocast(images.device.type, enabled=False):
            loss = MMRLLoss(alpha, model.config.reg_weight)(
                logits, logits_rep, image, text, frozen_image, self.frozen_text_features, labels
            )
        return {
            "loss": loss,
            "logits": logits,
            "logits_rep": logits_rep,
            "logits_fused": alpha * logits + (1 - alpha) * logits_rep,
            "image_features": image,
            "image_features_rep": image_rep,
            "text_features": text,
            "frozen_image_features": frozen_image,
            "frozen_text_features": self.frozen_text_features,
        }


def _prepare_again(task: MMRLTask, _: object) -> None:
    task.prepare()
