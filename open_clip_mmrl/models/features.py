"""The features of both towers, with tokens and without, in the parts that training needs.

Shapes: B images, P patches, C prompts, n layers with tokens, K tokens, D tower width,
E embedding width.
"""

from __future__ import annotations

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from ..config import MMRLConfig
from .class_prompts import ClassPrompts
from .image_tower import ImageFeatures, ImageTower
from .learner import RepresentationLearner
from .text_tower import TextTower


class TowerFeatures(nn.Module):
    """The part of `MMRLCLIP` that runs the towers.

    Tokens are arguments, so that a training step computes them once (`learner()`) for both towers.
    """

    config: MMRLConfig
    learner: RepresentationLearner
    visual: VisionTransformer

    @property
    def image_tower(self) -> ImageTower:
        """The image tower, divided into stages."""
        return ImageTower(self.visual, self.learner.layers)

    @property
    def text_tower(self) -> TextTower:
        """The text tower, divided into stages."""
        return TextTower.of(self, self.learner.layers)

    @property
    def _beta(self) -> float:
        assert self.config.beta is not None  # MMRLConfig sets it
        return self.config.beta

    def adapted_image_features(self, hidden: Tensor, tokens: Tensor | None) -> ImageFeatures:
        """Return both features of rows [B, 1 + P, D] of `image_tower.lower`.

        Args:
            hidden: the rows.
            tokens: image tokens of the learner, [n, K, D]; None where it has none.
        """
        if tokens is None:
            return ImageFeatures(self.frozen_image_features(hidden), None)
        tower = self.image_tower
        class_row, rows = tower.with_tokens(hidden, tokens, self._beta)  # [B, D], [B, K, D]
        assert self.learner.projection is not None  # it is there with image tokens
        projection = self.learner.projection(self.visual.proj)  # [D, E]
        return ImageFeatures(
            tower.project_class(class_row), tower.project_representation(rows, projection)
        )

    def adapted_text_features(
        self, prompts: ClassPrompts, tokens: Tensor | None, chunk_size: int | None = None
    ) -> Tensor:
        """Return w [C, E] of prompts of `text_tower.lower`, not normalized.

        Args:
            prompts: after the layers below J.
            tokens: text tokens of the learner, [n, K, D]; None where it has none.
            chunk_size: prompts at a time; see `TextTower.with_tokens`.
        """
        if tokens is None:
            return self.frozen_text_features(prompts)
        tower = self.text_tower
        return tower.project(tower.with_tokens(prompts, tokens, self._beta, chunk_size))

    def frozen_image_features(self, hidden: Tensor) -> Tensor:
        """Return f_0 [B, E] of rows [B, 1 + P, D] of `image_tower.lower`, not normalized."""
        tower = self.image_tower
        return tower.project_class(tower.without_tokens(hidden))

    def frozen_text_features(self, prompts: ClassPrompts) -> Tensor:
        """Return w_0 [C, E] of prompts of `text_tower.lower`, not normalized."""
        return self.text_tower.project(self.text_tower.without_tokens(prompts))

    def image_branches(self, images: Tensor, tokens: Tensor | None) -> tuple[ImageFeatures, Tensor]:
        """Return the features with tokens, and frozen CLIP's f_0 [B, E]; not normalized.

        The layers below J run once, and nothing of the frozen branch is differentiated.

        Args:
            images: [B, 3, H, W].
            tokens: image tokens of the learner, [n, K, D]; None where it has none: then the
                features are frozen CLIP's.
        """
        with torch.no_grad():
            hidden = self.image_tower.lower(images)  # [B, 1 + P, D]
            frozen = self.frozen_image_features(hidden)
        if tokens is None:
            return ImageFeatures(frozen, None), frozen
        return self.adapted_image_features(hidden, tokens), frozen
