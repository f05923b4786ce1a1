"""CLIP with representation tokens: open_clip's own classes, plus a learner.

Shapes: B images, C prompts, E embedding width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import QuickGELU
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import MMRLConfig, as_config
from ..errors import UsageError
from .class_prompts import ClassPrompts
from .image_tower import ImageFeatures, ImageTower
from .learner import RepresentationLearner
from .support import unsupported_model_reason
from .text_tower import TextTower

FEATURES = ("class", "representation", "fused", "frozen")


class MMRLCLIP(nn.Module):
    """What MMRL adds to an open_clip model; mixed into both of its CLIP classes below.

    Attributes:
        config: the method's settings.
        learner: owner of every trainable parameter, and of nothing else.
        features: what `encode_image` and `encode_text` return when they are not told:
            "class": the class feature f_c; for new classes and other data sets;
            "representation": f_r (text: the same text feature, which has no other kind);
            "fused": both, for classes seen in training: image [sqrt(a) f_c ; sqrt(1-a) f_r]
            and text [sqrt(a) w ; sqrt(1-a) w] of unit vectors, whose inner product is the
            released code's mix of logits;
            "frozen": the base model's own feature, without tokens.
    """

    config: MMRLConfig
    learner: RepresentationLearner
    features: str

    @staticmethod
    def from_open_clip(clip: nn.Module, config: MMRLConfig | None = None) -> MMRLCLIP:
        """Add tokens to a loaded open_clip CLIP or CustomTextCLIP.

        The weights are shared with `clip`, not copied, and no longer require gradients.
        """
        if isinstance(clip, MMRLCLIP):
            raise ValueError(
                "the model given carries representation tokens already; give the base model, "
                "or use model.learner.reset_parameters() to begin anew."
            )
        for base, ours in ((CLIP, MMRLPlainCLIP), (CustomTextCLIP, MMRLCustomTextCLIP)):
            if type(clip) is base:
                model = _same_weights(clip, ours)
                model._add_tokens(config or MMRLConfig())
                return model
        raise ValueError(
            f"a {type(clip).__name__} cannot carry representation tokens: only open_clip's CLIP "
            "and CustomTextCLIP can. Give what open_clip.create_model returned, unwrapped."
        )

    def sibling(self, config: MMRLConfig | None = None) -> MMRLCLIP:
        """Another model on the same frozen weights, with a learner of its own.

        For several adapters on one base; `encode_image_each` runs what they share once.
        """
        model = _same_weights(self, type(self))
        del model.learner  # ours stays trainable
        model._add_tokens(config or self.config)
        return model

    def _add_tokens(self, config: MMRLConfig) -> None:
        reason = unsupported_model_reason(self)
        if reason:
            raise ValueError(f"This model cannot carry representation tokens: {reason}.")
        depths = {
            "text": len(TextTower.of(self).transformer.resblocks),
            "image": len(self.visual.transformer.resblocks),
        }
        lowest = max(1, depths["text"] - depths["image"] + 1)
        if not lowest <= config.start_layer <= depths["text"]:
            raise UsageError(
                f"start_layer is {config.start_layer}, but this model has {depths['text']} text "
                f"and {depths['image']} image layers: allowed are {lowest} to {depths['text']}."
            )
        self.requires_grad_(False)
        self.config = config
        self.features = "class"
        projection = self.visual.proj
        learner = RepresentationLearner(
            config,
            image_width=projection.shape[0],
            text_width=TextTower.of(self).token_embedding.embedding_dim,
            embed_dim=projection.shape[1],
            layers=depths["text"] - config.start_layer + 1,
        )
        # Training wants full precision even where the base is stored in half.
        is_half = projection.dtype in (torch.float16, torch.bfloat16)
        dtype = torch.float32 if is_half else projection.dtype
        self.learner = learner.to(projection.device, dtype)

    @property
    def image_tower(self) -> ImageTower:
        """The image tower's stages."""
        return ImageTower(self.visual, self.learner.layers)

    @property
    def text_tower(self) -> TextTower:
        """The text tower's stages."""
        return TextTower.of(self, self.learner.layers)

    @property
    def quick_gelu(self) -> bool:
        """Whether the towers run QuickGELU, read off the blocks themselves."""
        return isinstance(self.visual.transformer.resblocks[0].mlp.gelu, QuickGELU)

    # One step of each tower, for whoever wants the parts: the training step, the evaluation.

    def adapted_image_features(self, hidden: Tensor, tokens: Tensor | None) -> ImageFeatures:
        """Rows [B, 1 + P, D] of `image_tower.lower` and image tokens -> both features."""
        if tokens is None:
            return ImageFeatures(self.frozen_image_features(hidden), None)
        tower = self.image_tower
        class_row, rows = tower.with_tokens(hidden, tokens, self.config.beta)
        return ImageFeatures(
            tower.project_class(class_row),
            tower.project_representation(rows, self.learner.projection(self.visual.proj)),
        )

    def adapted_text_features(
        self, prompts: ClassPrompts, tokens: Tensor | None, chunk_size: int | None = None
    ) -> Tensor:
        """Prompts of `text_tower.lower` and text tokens -> w [C, E], not normalised.

        `chunk_size` prompts at a time bound the memory of training; see `TextTower.with_tokens`.
        """
        if tokens is None:
            return self.frozen_text_features(prompts)
        tower = self.text_tower
        return tower.project(tower.with_tokens(prompts, tokens, self.config.beta, chunk_size))

    def frozen_image_features(self, hidden: Tensor) -> Tensor:
        """Rows [B, 1 + P, D] of `image_tower.lower` -> f_0 [B, E], not normalised."""
        tower = self.image_tower
        return tower.project_class(tower.without_tokens(hidden))

    def frozen_text_features(self, prompts: ClassPrompts) -> Tensor:
        """Prompts of `text_tower.lower` -> w_0 [C, E], not normalised."""
        return self.text_tower.project(self.text_tower.without_tokens(prompts))

    # open_clip's contract.

    def encode_image(
        self, image: Tensor, normalize: bool = False, features: str | None = None
    ) -> Tensor:
        """Image features [B, E]; "fused" [B, 2E]. `features` as the attribute of that name."""
        return self.encode_hidden(self.image_tower.lower(image), normalize, features)

    def encode_hidden(
        self, hidden: Tensor, normalize: bool = False, features: str | None = None
    ) -> Tensor:
        """What `encode_image` does behind the frozen layers: rows of `image_tower.lower` in."""
        kind = self._kind(features)
        if kind == "frozen":
            feature = self.frozen_image_features(hidden)
        else:
            both = self.adapted_image_features(hidden, self.learner()[0])
            if kind == "fused":
                return self._fuse(both.class_, both.representation)
            feature = both.class_ if kind == "class" else both.representation
        return F.normalize(feature, dim=-1) if normalize else feature

    def encode_text(
        self, text: Tensor, normalize: bool = False, features: str | None = None
    ) -> Tensor:
        """Text features [C, E]; "fused" [C, 2E]. `features` as the attribute of that name."""
        kind = self._kind(features)
        prompts = self.text_tower.lower(text)
        if kind == "frozen":
            feature = self.frozen_text_features(prompts)
        else:
            feature = self.adapted_text_features(prompts, self.learner()[1])
            if kind == "fused":
                return self._fuse(feature)
        return F.normalize(feature, dim=-1) if normalize else feature

    # open_clip 4.x calls these names from forward() and get_logits().
    _encode_image = encode_image
    _encode_text = encode_text

    def forward_intermediates(self, *args: Any, **kwargs: Any):
        """Not offered: open_clip's own would run the towers without the tokens, silently."""
        raise ValueError(
            "forward_intermediates would bypass the representation tokens. Use encode_image and "
            "encode_text, or model.visual.forward_intermediates for the frozen image tower."
        )

    def _fuse(self, feature: Tensor, other: Tensor | None = None) -> Tensor:
        """[B, E] twice -> [sqrt(a) feature ; sqrt(1-a) other], [B, 2E], of unit length.

        Where there is one feature only (texts; images without tokens), it is the other one too.
        """
        first = F.normalize(feature, dim=-1)
        second = first if other is None else F.normalize(other, dim=-1)
        alpha = self.config.alpha
        return torch.cat([alpha**0.5 * first, (1 - alpha) ** 0.5 * second], dim=-1)

    def _kind(self, features: str | None) -> str:
        kind = self.features if features is None else features
        if kind not in FEATURES:
            raise ValueError(f"features is {kind!r}; it has to be one of {FEATURES}.")
        if kind == "representation" and self.learner.projection is None:
            raise ValueError(
                "this model has no image tokens (token_sides='text') and so no representation "
                "feature; use features='class'."
            )
        return kind


class MMRLPlainCLIP(MMRLCLIP, CLIP):
    """open_clip's CLIP with representation tokens."""

    def __init__(self, *args: Any, mmrl_cfg: MMRLConfig | Mapping[str, Any], **kwargs: Any):
        CLIP.__init__(self, *args, **kwargs)
        self._add_tokens(as_config(mmrl_cfg))


class MMRLCustomTextCLIP(MMRLCLIP, CustomTextCLIP):
    """open_clip's CustomTextCLIP with representation tokens."""

    def __init__(self, *args: Any, mmrl_cfg: MMRLConfig | Mapping[str, Any], **kwargs: Any):
        CustomTextCLIP.__init__(self, *args, **kwargs)
        self._add_tokens(as_config(mmrl_cfg))


def _same_weights(source: nn.Module, kind: type[MMRLCLIP]) -> MMRLCLIP:
    """A model of another class with the very parameters and sub-modules of `source`."""
    model = kind.__new__(kind)
    # Copies of the registries, so that what is added to one is not in the other.
    model.__dict__.update({k: copy.copy(v) for k, v in source.__dict__.items()})
    return model


def encode_image_each(
    models: Sequence[MMRLCLIP],
    image: Tensor,
    normalize: bool = False,
    features: str | None = None,
) -> list[Tensor]:
    """`encode_image` of several models on one base, with the layers that they share run once.

    Args:
        models: a model and its siblings. Those with the same `start_layer` share all layers
            below it.
    """
    if len({id(model.visual.conv1.weight) for model in models}) > 1:
        raise ValueError(
            "the models stand on different base weights; make them with model.sibling(config)."
        )
    hidden: dict[int, Tensor] = {}
    for tower in (model.image_tower for model in models):
        if tower.token_layers not in hidden:
            hidden[tower.token_layers] = tower.lower(image)
    return [
        model.encode_hidden(hidden[model.image_tower.token_layers], normalize, features)
        for model in models
    ]
