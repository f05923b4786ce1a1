"""The image tower with representation tokens, in three stages.

    lower(images)           layers 1 .. J-1, frozen, shared by the two branches below
    with_tokens(hidden, R)  layers J .. L with tokens between class token and patches
    without_tokens(hidden)  the same layers as frozen CLIP runs them
    project_*               the head

`ImageTower` is a view: open_clip's VisionTransformer stays what it is, weights and all.

Shapes: B images, P patches, K representation tokens, n layers with tokens, D tower width,
E embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from .blocks import compose, keys_values, run_block


class ImageFeatures(NamedTuple):
    """Features of one batch as they leave the projections, each [B, E], not normalised."""

    class_: Tensor
    representation: Tensor | None
    """None without image tokens."""


@dataclass(frozen=True)
class ImageTower:
    """open_clip's VisionTransformer, cut where the tokens come in."""

    visual: VisionTransformer
    token_layers: int
    """n = L - J + 1, counted from the top."""

    @property
    def _blocks(self) -> nn.ModuleList:
        return self.visual.transformer.resblocks

    @property
    def _recompute(self) -> bool:
        return self.visual.transformer.grad_checkpointing

    def lower(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] of any real type -> rows [B, 1 + P, D] in front of layer J."""
        if images.is_floating_point():
            images = images.to(self.visual.conv1.weight.dtype)
        x = self.visual._embeds(images)
        for block in self._blocks[: -self.token_layers]:
            x = run_block(block, x)
        return x

    def with_tokens(self, hidden: Tensor, tokens: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """Layers J .. L with tokens.

        Args:
            hidden: [B, 1 + P, D] from `lower`.
            tokens: [n, K, D], one set per layer.
            beta: 1 replaces the tokens before every layer; below 1 each layer's tokens are
                beta * fresh + (1 - beta) * output of the layer before.

        Returns:
            Class row [B, D] and representation rows [B, K, D] behind layer L.
        """
        x, batch, count = hidden, hidden.shape[0], tokens.shape[1]
        *upper, last = zip(self._blocks[-self.token_layers :], tokens.to(x.dtype), strict=True)
        carried = None
        for block, fresh in upper:
            if beta == 1:
                # Their outputs are replaced: the tokens only lend keys and values, the same
                # ones to every image.
                shared = keys_values(block, fresh.unsqueeze(0))
                x = run_block(block, x, shared=shared, recompute=self._recompute)
            else:
                rows = torch.cat([compose(fresh, carried, beta, batch), x], dim=1)
                rows = run_block(block, rows, recompute=self._recompute)
                carried, x = rows[:, :count], rows[:, count:]
        block, fresh = last
        rows = torch.cat([compose(fresh, carried, beta, batch), x], dim=1)
        rows = run_block(block, rows, asking=rows[:, : count + 1])
        return rows[:, count], rows[:, :count]

    def without_tokens(self, hidden: Tensor) -> Tensor:
        """Hidden [B, 1 + P, D] -> class row [B, D], as in frozen CLIP."""
        x = hidden
        for block in self._blocks[-self.token_layers : -1]:
            x = run_block(block, x)
        return run_block(self._blocks[-1], x, asking=x[:, :1])[:, 0]

    def project_class(self, row: Tensor) -> Tensor:
        """Class row [B, D] -> class feature [B, E] through CLIP's frozen projection."""
        return self.visual.ln_post(row) @ self.visual.proj

    def project_representation(self, rows: Tensor, projection: Tensor) -> Tensor:
        """Representation rows [B, K, D] -> feature [B, E]: norm, then mean, then projection.

        The paper's text averages first; the released code, which made its numbers, norms first.
        """
        pooled = self.visual.ln_post(rows).mean(dim=1)
        return pooled @ projection.to(pooled.dtype)
