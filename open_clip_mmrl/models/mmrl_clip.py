"""CLIP with representation tokens: open_clip's own classes, plus a learner.

Shapes: B images, C prompts, E embedding width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from open_clip.model import CLIP, CustomTextCLIP
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import FREE_FIELDS, MMRLConfig, as_config
from .features import TowerFeatures
from .image_towers.families import image_tower
from .learner import RepresentationLearner
from .sharing import ShareableModel
from .support import suited_config, token_layers
from .text_towers.families import text_tower

FEATURES = ("class", "representation", "fused", "frozen")


class MMRLCLIP(ShareableModel, TowerFeatures):
    """What MMRL adds to an open_clip model; mixed into both of its CLIP classes below.

    Made by `from_open_clip`, or by `open_clip.create_model("mmrl-...")`.

    Attributes:
        config: the method's settings.
        learner: owner of every trainable parameter, and of nothing else.
        features: what `encode_image` and `encode_text` return by default:
            "class": the class feature f_c; for new classes and other data sets;
            "representation": f_r (text: the same text feature, for there is no other);
            "fused": both, for classes seen in training: image [sqrt(a) f_c ; sqrt(1-a) f_r]
            and text [sqrt(a) w ; sqrt(1-a) w] of unit vectors, whose inner product is the
            released code's mix of logits;
            "frozen": the base model's own feature, without tokens.
        base_origin: "model" and "pretrained", the base's name and weights where known.

    Example:
        >>> import open_clip, torch
        >>> clip = open_clip.create_model("ViT-Ti-8-glyphs", pretrained="printed")
        >>> model = MMRLCLIP.from_open_clip(clip, MMRLConfig(start_layer=2)).eval()
        >>> images = torch.zeros(2, 3, *model.visual.image_size)
        >>> class_feature = model.encode_image(images)
        >>> class_feature.shape[1] * 2 == model.encode_image(images, features="fused").shape[1]
        True
        >>> all(name.startswith("learner") for name, p in model.named_parameters()
        ...     if p.requires_grad)
        True
    """

    context_length: int
    base_origin: Mapping[str, str | None] | None = None
    logit_bias: nn.Parameter | None

    @staticmethod
    def from_open_clip(clip: nn.Module, config: MMRLConfig | None = None) -> MMRLCLIP:
        """Add tokens to a loaded open_clip CLIP or CustomTextCLIP.

        The weights are shared with `clip`, not copied, and no longer require gradients.

        Args:
            clip: what `open_clip.create_model` returned.
            config: the method's settings; None takes the defaults.

        Raises:
            ValueError: the model does not support representation tokens.
            UsageError: `config.start_layer` does not fit the model's depth.
        """
        if isinstance(clip, MMRLCLIP):
            raise ValueError(
                "the model given has representation tokens already; give the base model, or use "
                "model.learner.reset_parameters() to start again."
            )
        for base, ours in ((CLIP, MMRLPlainCLIP), (CustomTextCLIP, MMRLCustomTextCLIP)):
            if type(clip) is base:
                model = _same_weights(clip, ours)
                model._add_tokens(config or MMRLConfig())
                return model
        raise ValueError(
            f"a {type(clip).__name__} does not support representation tokens: only open_clip's "
            "CLIP and CustomTextCLIP do. Give what open_clip.create_model returned, unwrapped."
        )

    def sibling(self, config: MMRLConfig | None = None) -> MMRLCLIP:
        """Return another model on the same frozen weights, with a new learner of its own.

        For several adapters on one base; `encode_image_each` runs the shared layers once.

        The base is one for both: what changes it in one of the two (`half()`, `to()`,
        `set_grad_checkpointing()`, loading other weights) changes it in the other.

        Args:
            config: its settings; None takes this model's.
        """
        model = _same_weights(self, type(self))
        del model.learner  # ours stays trainable
        model._add_tokens(config or self.config)
        return model

    def with_config(self, **changes: float) -> MMRLCLIP:
        """Return the same model under other `FREE_FIELDS`.

        Weights and learner are shared: what is trained in one of the two is trained in both.
        """
        assert changes.keys() <= {*FREE_FIELDS}, changes
        model = _same_weights(self, type(self))
        model.config = self.config.replace(**changes)
        return model

    def _add_tokens(self, config: MMRLConfig) -> None:
        config = suited_config(self, config)
        self.requires_grad_(False)
        self.config = config
        self.features = "class"
        image = image_tower(self.visual)
        learner = RepresentationLearner(
            config,
            image_width=image.width,
            text_width=text_tower(self).width,
            embed_dim=image.embed_dim,
            layers=token_layers(self, config),
        )
        # Training needs full precision even where the base is stored in half.
        is_half = image.dtype in (torch.float16, torch.bfloat16)
        dtype = torch.float32 if is_half else image.dtype
        self.learner = learner.to(self.device, dtype)
        self.train(self.training)

    @property
    def features(self) -> str:
        """What `encode_image` and `encode_text` return by default."""
        return self._features

    @features.setter
    def features(self, value: str) -> None:
        if value not in FEATURES:
            raise ValueError(f"features is {value!r}; it has to be one of {FEATURES}.")
        self._features = value

    @property
    def quick_gelu(self) -> bool:
        """Whether the towers use QuickGELU, as the blocks of those show that have a choice."""
        of_image = self.image_tower.quick_gelu
        return bool(self.text_tower.quick_gelu if of_image is None else of_image)

    # open_clip's contract.

    def encode_image(
        self, image: Tensor, normalize: bool = False, features: str | None = None
    ) -> Tensor:
        """Return image features [B, E]; "fused" [B, 2E].

        Args:
            image: [B, 3, H, W], normalized as the base model expects.
            normalize: to unit length; "fused" is of unit length in any case.
            features: as the attribute of that name; None takes its value.
        """
        return self.encode_hidden(self.image_tower.lower(image), normalize, features)

    def encode_hidden(
        self, hidden: Any, normalize: bool = False, features: str | None = None
    ) -> Tensor:
        """Do what `encode_image` does after the frozen layers; see there.

        Args:
            hidden: rows of `image_tower.lower`.
            normalize: to unit length.
            features: as the attribute of that name.
        """
        kind = self._kind(features)
        if kind == "frozen":
            feature = self.frozen_image_features(hidden)
        else:
            both = self.adapted_image_features(hidden, self.learner()[0])
            if kind == "fused":
                return self._fuse(both.class_, both.representation)
            feature = both.class_
            if kind == "representation":
                assert both.representation is not None  # `_kind` has checked it
                feature = both.representation
        return F.normalize(feature, dim=-1) if normalize else feature

    def encode_text(
        self, text: Tensor, normalize: bool = False, features: str | None = None
    ) -> Tensor:
        """Return text features [C, E]; "fused" [C, 2E].

        Args:
            text: token ids [C, up to the context length], as the model's tokenizer gives them.
            normalize: to unit length; "fused" is of unit length in any case.
            features: as the attribute of that name; None takes its value.
        """
        kind = self._kind(features)
        prompts = self.text_tower.lower(text)
        if kind == "frozen":
            feature = self.frozen_text_features(prompts)
        else:
            feature = self.adapted_text_features(prompts, self.learner()[1])
            if kind == "fused":
                return self._fuse(feature)
        return F.normalize(feature, dim=-1) if normalize else feature

    # open_clip's unreleased main (4.x) calls these names from forward() and get_logits().
    _encode_image = encode_image
    _encode_text = encode_text

    def forward_intermediates(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Raise: open_clip's own would silently run the towers without the tokens."""
        raise ValueError(
            "forward_intermediates would bypass the representation tokens. Use encode_image and "
            "encode_text, or model.visual.forward_intermediates for the frozen image tower."
        )

    def _fuse(self, feature: Tensor, other: Tensor | None = None) -> Tensor:
        """[B, E] twice -> [sqrt(a) feature ; sqrt(1-a) other], [B, 2E], of unit length.

        Where there is only one feature (texts; images without tokens), it is used twice.
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

    def __init__(self, *args: Any, mmrl_cfg: MMRLConfig | Mapping[str, Any], **kwargs: Any) -> None:
        CLIP.__init__(self, *args, **kwargs)
        self._add_tokens(as_config(mmrl_cfg))


class MMRLCustomTextCLIP(MMRLCLIP, CustomTextCLIP):
    """open_clip's CustomTextCLIP with representation tokens."""

    def __init__(self, *args: Any, mmrl_cfg: MMRLConfig | Mapping[str, Any], **kwargs: Any) -> None:
        CustomTextCLIP.__init__(self, *args, **kwargs)
        self._add_tokens(as_config(mmrl_cfg))


def _same_weights(source: nn.Module, kind: type[MMRLCLIP]) -> MMRLCLIP:
    """Make a model of another class with the same parameters and sub-modules as `source`."""
    model = kind.__new__(kind)
    # Copies of the registries, so that what is added to one is not in the other.
    model.__dict__.update({k: copy.copy(v) for k, v in source.__dict__.items()})
    return model
