"""open_clip's VisionTransformer with a class token, run row by row.

The rows here are [tokens, class token, patches]. The method inserts the tokens after the class
token; attention is not causal and positions are added below, so the order has no effect.

What is not needed is not computed: with beta = 1 the tokens of a layer only give keys and values,
the same ones for the whole batch; and in the last layer only the rows that are read are query
rows.

Shapes: B images, P patches, K representation tokens, n layers with tokens, D tower width,
E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

from ..blocks import (
    Block,
    are_plain,
    block_reason,
    blocks_of,
    compose,
    keys_values,
    run_block,
    run_whole,
)
from ..learner import Projection
from .tower import ImageTower


@dataclass(frozen=True)
class ClassTokenTower(ImageTower):
    """open_clip's VisionTransformer that reads its class token."""

    family = "open_clip ViT, class token"
    visual: VisionTransformer

    @staticmethod
    def matches(visual: nn.Module) -> bool:
        """Return whether it is open_clip's VisionTransformer."""
        return isinstance(visual, VisionTransformer)

    @staticmethod
    def unsupported_reason(visual: VisionTransformer) -> str | None:
        """Return why it does not support tokens, or None."""
        if visual.attn_pool is not None or visual.pool_type != "tok":
            return "its image tower pools by other means than the class token"
        if visual.proj is None:
            return "its image tower has no projection"
        return block_reason(visual.transformer.resblocks[0])

    @property
    def width(self) -> int:
        """D, width of the rows."""
        return self.visual.proj.shape[0]

    @property
    def embed_dim(self) -> int:
        """E, width of the features."""
        return self.visual.proj.shape[1]

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(blocks_of(self.visual.transformer))

    @property
    def patch_size(self) -> int:
        """Pixels per patch, along the height."""
        return self.visual.conv1.kernel_size[0]

    @property
    def dtype(self) -> torch.dtype:
        """Type of the projection."""
        return self.visual.proj.dtype

    @property
    def quick_gelu(self) -> bool:
        """Whether its blocks run QuickGELU."""
        return isinstance(blocks_of(self.visual.transformer)[0].mlp.gelu, QuickGELU)

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
        return run_whole(self._lower, self.visual._embeds(images))  # [B, 1 + P, D]

    def with_tokens(self, rows: Tensor, tokens: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """Run the upper layers with tokens.

        Args:
            rows: [B, 1 + P, D] from `lower`.
            tokens: [n, K, D], one set per layer.
            beta: as in `ImageTower`.

        Returns:
            Class row [B, D] and representation rows [B, K, D] after the last layer.
        """
        x, batch, count = rows, rows.shape[0], tokens.shape[1]
        if not are_plain(self._upper):
            x = run_whole(self._upper, x, tokens, beta, recompute=self._recompute)
            return x[:, 0], x[:, 1 : 1 + count]
        *upper, last = zip(self._upper, tokens.to(x.dtype), strict=True)
        previous = None
        for block, own in upper:
            if beta == 1:
                # The tokens' outputs are replaced anyway: they only give keys and values, the
                # same ones for every image.
                shared = keys_values(block, own.unsqueeze(0))  # [1, H, K, d]
                x = run_block(block, x, shared=shared, recompute=self._recompute)
            else:
                joined = torch.cat([compose(own, previous, beta, batch), x], dim=1)
                joined = run_block(block, joined, recompute=self._recompute)  # [B, K + 1 + P, D]
                previous, x = joined[:, :count], joined[:, count:]
        block, own = last
        joined = torch.cat([compose(own, previous, beta, batch), x], dim=1)  # [B, K + 1 + P, D]
        read = run_block(block, joined, queries=joined[:, : count + 1])  # [B, K + 1, D]
        return read[:, count], read[:, :count]

    def without_tokens(self, rows: Tensor) -> Tensor:
        """Run the upper layers as frozen CLIP: rows [B, 1 + P, D] -> class row [B, D]."""
        x = rows
        if not are_plain(self._upper):
            return run_whole(self._upper, x)[:, 0]
        *upper, last = self._upper
        for block in upper:
            x = run_block(block, x)
        return run_block(last, x, queries=x[:, :1])[:, 0]

    def class_feature(self, own: Tensor) -> Tensor:
        """Project class row [B, D] -> class feature [B, E] by CLIP's frozen projection."""
        return self.visual.ln_post(own) @ self.visual.proj

    def representation_feature(self, rows: Tensor, projection: Projection) -> Tensor:
        """Project token rows [B, K, D] -> feature [B, E]: norm, mean, projection.

        The paper's text averages first; the released code, which made its numbers, norms first.
        """
        pooled = self.visual.ln_post(rows).mean(dim=1)  # [B, D]
        return pooled @ projection(self.visual.proj).to(pooled.dtype)
