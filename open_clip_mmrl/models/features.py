"""The features of both towers, with tokens and without, in the parts that training needs.

Shapes: B images, C prompts, n layers with tokens, K tokens, D tower width,
E embedding width.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..config import MMRLConfig
from .image_towers.families import image_tower
from .image_towers.tower import ImageFeatures, ImageTower
from .learner import RepresentationLearner
from .text_towers.bidirectional import FROZEN_CHUNK
from .text_towers.families import text_tower
from .text_towers.tower import TextTower


@dataclass(frozen=True)
class FrozenImages:
    """What the frozen layers make of a batch, the same for a model and its siblings.

    Where several are trained on the same batches, it takes the place of the images.
    """

    hidden: Any
    """Rows of `image_tower.lower`."""
    features: Tensor
    """f_0, [B, E], not normalized."""

    def __len__(self) -> int:
        """Return B."""
        return len(self.features)

    def to(self, _device: torch.device) -> FrozenImages:
        """Return itself: it is where the model is."""
        return self


class TowerFeatures(nn.Module):
    """The part of `MMRLCLIP` that runs the towers.

    Tokens are arguments, so that a training step computes them once (`learner()`) for both towers.
    """

    config: MMRLConfig
    learner: RepresentationLearner
    visual: Any
    """One of open_clip's image towers; see `image_tower`."""
    logit_scale: nn.Parameter

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.logit_scale.device

    def train(self, mode: bool = True) -> TowerFeatures:
        """Switch the learner's mode. The frozen towers keep evaluation's, whatever is given.

        Batch norms, stochastic depth and dropout, which some towers have, would make what is
        frozen depend on the batch or on chance.
        """
        super().train(mode)
        for child in self.children():
            child.train(mode and child is self.learner)
        return self

    @property
    def image_tower(self) -> ImageTower:
        """The image tower, divided into stages."""
        return image_tower(self.visual, self.learner.layers)

    @property
    def text_tower(self) -> TextTower:
        """The text tower, divided into stages."""
        return text_tower(self, self.learner.layers)

    @property
    def _beta(self) -> float:
        assert self.config.beta is not None  # MMRLConfig sets it
        return self.config.beta

    def adapted_image_features(
        self, hidden: Any, tokens: Tensor | None, norms: bool = False
    ) -> ImageFeatures:
        """Return both features of the rows of `image_tower.lower`.

        Args:
            hidden: the rows.
            tokens: image tokens of the learner, [n, K, D]; None where it has none.
            norms: whether to return the norms of rows as well; see `ImageTower.with_tokens`.
        """
        if tokens is None:
            return ImageFeatures(self.frozen_image_features(hidden), None)
        tower = self.image_tower
        rows = tower.with_tokens(hidden, tokens, self._beta, norms)
        projection = self.learner.projection
        assert projection is not None  # it is there with image tokens
        return ImageFeatures(
            tower.class_feature(rows.own),
            tower.representation_feature(rows.tokens, projection),
            rows.norms,
        )

    def adapted_text_features(
        self, prompts: Sized, tokens: Tensor | None, chunk_size: int | None = None
    ) -> Tensor:
        """Return w [C, E] of prompts of `text_tower.lower`, not normalized.

        Args:
            prompts: after the layers below J; or token ids [C, N], for which these run again.
            tokens: text tokens of the learner, [n, K, D]; None where it has none.
            chunk_size: prompts at a time; see `TextTower.with_tokens`.
        """
        if tokens is None:
            return self.frozen_text_features(prompts)
        tower = self.text_tower
        if not isinstance(prompts, Tensor):
            return tower.project(tower.with_tokens(prompts, tokens, self._beta, chunk_size))

        def run(ids: Tensor) -> Tensor:
            with torch.no_grad():
                lower = tower.lower(ids)
            return tower.with_tokens(lower, tokens, self._beta)

        parts = prompts.split(chunk_size or max(1, len(prompts)))
        again = partial(checkpoint, run, use_reentrant=False, preserve_rng_state=False)
        return tower.project(torch.cat([again(ids) for ids in parts]))

    def frozen_image_features(self, hidden: Any) -> Tensor:
        """Return f_0 [B, E] of the rows of `image_tower.lower`, not normalized."""
        tower = self.image_tower
        return tower.class_feature(tower.without_tokens(hidden))

    def frozen_text_features(self, prompts: Sized) -> Tensor:
        """Return w_0 [C, E] of prompts of `text_tower.lower`, or token ids, not normalized."""
        if isinstance(prompts, Tensor):
            parts = map(self.text_tower.lower, prompts.split(FROZEN_CHUNK))
            return torch.cat([self.frozen_text_features(part) for part in parts])
        return self.text_tower.project(self.text_tower.without_tokens(prompts))

    @torch.no_grad()
    def frozen_images(self, images: Tensor) -> FrozenImages:
        """Run the frozen layers on images [B, 3, H, W]: those below J once, for both branches."""
        hidden = self.image_tower.lower(images)
        return FrozenImages(hidden, self.frozen_image_features(hidden))

    def image_branches(
        self, images: Tensor | FrozenImages, tokens: Tensor | None, norms: bool = False
    ) -> tuple[ImageFeatures, Tensor]:
        """Return the features with tokens, and frozen CLIP's f_0 [B, E]; not normalized.

        Nothing of the frozen branch is differentiated.

        Args:
            images: [B, 3, H, W], or what the frozen layers made of them.
            tokens: image tokens of the learner, [n, K, D]; None where it has none: then the
                features are frozen CLIP's.
            norms: as in `adapted_image_features`.
        """
        frozen = self.frozen_images(images) if isinstance(images, Tensor) else images
        if tokens is None:
            return ImageFeatures(frozen.features, None), frozen.features
        return self.adapted_image_features(frozen.hidden, tokens, norms), frozen.features
