"""One training step as a module.

Shapes: B images, C classes, E embedding width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .image_tower import ImageFeatures
from .losses import MMRLLoss
from .mmrl_clip import MMRLCLIP
from .ops import cosine_logits, mix, unit


def image_branches(
    model: MMRLCLIP, images: Tensor, tokens: Tensor | None
) -> tuple[ImageFeatures, Tensor]:
    """Images [B, 3, H, W] through both branches -> features with tokens, and frozen f_0 [B, E].

    The layers below J run once. Nothing of the frozen branch is differentiated; without tokens
    there is no other.
    """
    with torch.no_grad():
        hidden = model.image_tower.lower(images)
        frozen = model.frozen_image_features(hidden)
    if tokens is None:
        return ImageFeatures(frozen, None), frozen
    return model.adapted_image_features(hidden, tokens), frozen


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
            self.prompts = self.model.text_tower.lower(self.tokens)
            self.frozen_text_features = unit(self.model.frozen_text_features(self.prompts))

    def _apply(self, fn, *args, **kwargs):
        super()._apply(fn, *args, **kwargs)
        self.prepare()
        return self

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Images [B, 3, H, W], labels [B] in 0..C-1.

        Returns:
            loss []; logits, logits_rep, logits_fused [B, C]; image_features,
            image_features_rep, frozen_image_features [B, E] and text_features,
            frozen_text_features [C, E], all of unit length. Without image tokens there are no
            logits_rep and image_features_rep, and logits_fused are the logits.
        """
        model, config = self.model, self.model.config
        image_tokens, text_tokens = model.learner()
        both, frozen_image = image_branches(model, images, image_tokens)
        image, frozen_image = unit(both.class_), unit(frozen_image)
        text = self._text_features(text_tokens)
        logits, logits_rep, of_rep = cosine_logits(model, image, text), None, {}
        if both.representation is not None:
            image_rep = unit(both.representation)
            logits_rep = cosine_logits(model, image_rep, text)
            of_rep = {"logits_rep": logits_rep, "image_features_rep": image_rep}
        with torch.autocast(images.device.type, enabled=False):
            loss = MMRLLoss(config.alpha, config.reg_weight, config.regularizer)(
                logits, logits_rep, image, text, frozen_image, self.frozen_text_features, labels
            )
        return {
            "loss": loss,
            "logits": logits,
            "logits_fused": mix(logits, logits_rep, config.alpha),
            "image_features": image,
            "text_features": text,
            "frozen_image_features": frozen_image,
            "frozen_text_features": self.frozen_text_features,
            **of_rep,
        }

    def _text_features(self, tokens: Tensor | None) -> Tensor:
        """W [C, E], of unit length; without tokens, frozen CLIP's, which are there already."""
        if tokens is None:
            return self.frozen_text_features
        return unit(self.model.adapted_text_features(self.prompts, tokens, self.text_chunk_size))


def _prepare_again(task: MMRLTask, _: object) -> None:
    task.prepare()
