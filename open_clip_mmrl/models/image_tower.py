"""The image tower with representation tokens, in stages.

    lower(images)           the frozen layers below the tokens, shared by the two branches below
    with_tokens(hidden, R)  the n upper layers with tokens
    without_tokens(hidden)  the same layers as frozen CLIP runs them
    project_*               the projections

In the code the rows are [tokens, class token, patches]. The method inserts the tokens after the
class token; attention is not causal and positions are added below, so the order has no effect.

`ImageTower` is a view: open_clip's VisionTransformer and its weights stay as they are.

Shapes: B images, P patches, K representation tokens, n layers with tokens, D tower width,
E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor

from .blocks import Block, blocks_of, compose, keys_values, run_block


class ImageFeatures(NamedTuple):
    """Features of one batch as they leave the projections, each [B, E], not normalized."""

    class_: Tensor
    representation: Tensor | None
    """None without image tokens."""


@dataclass(frozen=True)
class ImageTower:
    """open_clip's VisionTransformer, divided where the tokens enter."""

    visual: VisionTransformer
    token_layers: int
    """n: as many as the text tower has from layer J on, counted from the top of this one."""

    @property
    def _lower(self) -> Sequence[Block]:
        return blocks_of(self.visual.transformer)[: -self.token_layers]

    @property
    def _upper(self) -> Sequence[Block]:
        return blocks_of(self.visual.transformer)[-self.token_layers :]

    @property
    def _recompute(self) -> bool:
        return self.visual.transformer.grad_checkpointing

    def lower(self, images: Tensor) -> Tensor:
        """Run the layers below the tokens: images [B, 3, H, W] -> rows [B, 1 + P, D]."""
        if images.is_floating_point():
            images = images.to(self.visual.conv1.weight.dtype)
        x = self.visual._embeds(images)  # [B, 1 + P, D]
        for block in self._lower:
            x = run_block(block, x)
        return x

    def with_tokens(self, hidden: Tensor, tokens: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """Run the upper layers with tokens.

        Args:
            hidden: [B, 1 + P, D] from `lower`.
            tokens: [n, K, D], one set per layer.
            beta: 1 replaces the tokens before every layer; below 1 they are
                beta * this layer's tokens + (1 - beta) * the previous layer's output tokens.

        Returns:
            Class row [B, D] and representation rows [B, K, D] after the last layer.
        """
        x, batch, count = hidden, hidden.shape[0], tokens.shape[1]
        *upper, last = zip(self._upper, tokens.to(x.dtype), strict=True)
        previous = None
        for block, own in upper:
            if beta == 1:
                # The tokens' outputs are replaced anyway: they only give keys and values, the
                # same ones for every image.
                shared = keys_values(block, own.unsqueeze(0))  # [1, H, K, d]
                x = run_block(block, x, shared=shared, recompute=self._recompute)
            else:
                rows = torch.cat([compose(own, previous, beta, batch), x], dim=1)
                rows = run_block(block, rows, recompute=self._recompute)  # [B, K + 1 + P, D]
                previous, x = rows[:, :count], rows[:, count:]
        block, own = last
        rows = torch.cat([compose(own, previous, beta, batch), x], dim=1)  # [B, K + 1 + P, D]
        rows = run_block(block, rows, queries=rows[:, : count + 1])  # [B, K + 1, D]
        return rows[:, count], rows[:, :count]

    def without_tokens(self, hidden: Tensor) -> Tensor:
        """Run the upper layers as frozen CLIP: hidden [B, 1 + P, D] -> class row [B, D]."""
        x = hidden
        *upper, last = self._upper
        for block in upper:
            x = run_block(block, x)
        return run_block(last, x, queries=x[:, :1])[:, 0]

    def project_class(self, row: Tensor) -> Tensor:
        """Project class row [B, D] -> class feature [B, E] by CLIP's frozen projection."""
        return self.visual.ln_post(row) @ self.visual.proj

    def project_representation(self, rows: Tensor, projection: Tensor) -> Tensor:
        """Project representation rows [B, K, D] -> feature [B, E]: norm, mean, projection.

        The paper's text averages first; the released code, which made its numbers, norms first.
        """
        pooled = self.visual.ln_post(rows).mean(dim=1)  # [B, D]
        return pooled @ projection.to(pooled.dtype)
