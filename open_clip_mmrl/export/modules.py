"""What is exported of a model, as modules of one input: pixels, or token ids.

Shapes: B images, C prompts, E embedding width.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from ..errors import UsageError
from ..models.mmrl_clip import MMRLCLIP

Features = Literal["fused", "class"]
FEATURES: tuple[Features, ...] = get_args(Features)


def usable_features(model: MMRLCLIP, features: str) -> Features:
    """Return which features to export: "class" where the model has no image tokens.

    Raises:
        UsageError: there are no such features.
    """
    for known in FEATURES:
        if features == known:
            return known if model.config.token_sides != "text" else "class"
    raise UsageError(f"features is {features!r}; it has to be one of {FEATURES}.")


class ImageFeatures(nn.Module):
    """Image features of unit length, float32, [B, E] each: "class", and "representation" if fused.

    Args:
        model: is not changed.
        features: "fused" gives both, "class" the first alone.
    """

    def __init__(self, model: MMRLCLIP, features: Features) -> None:
        super().__init__()
        # With alpha 1/2 both parts of the fused feature have the length sqrt(1/2).
        self.model = model.with_config(alpha=0.5)
        self.names = ("class", "representation") if features == "fused" else ("class",)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features of images [B, 3, H, W], normalized as the base expects."""
        if len(self.names) == 1:
            return (self.model.encode_image(images, normalize=True, features="class").float(),)
        both = self.model.encode_image(images, features="fused").float()  # [B, 2E]
        both = 2**0.5 * both.unflatten(-1, (2, -1))  # [B, 2, E]
        return both[:, 0], both[:, 1]


class TextFeatures(nn.Module):
    """Text features of unit length, float32, [C, E]."""

    names = ("text",)

    def __init__(self, model: MMRLCLIP) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return the features of token ids [C, context length]."""
        return (self.model.encode_text(tokens, normalize=True, features="class").float(),)
