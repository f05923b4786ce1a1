"""open_clip's VisionTransformer, run row by row.

The rows here are [tokens, class token, patches]. The method inserts the tokens after the class
token; attention is not causal and positions are added below, so the order has no effect.

What is not needed is not computed: with beta = 1 the tokens of a layer only give keys and values,
the same ones for the whole batch; and where the class token is read, only it and the tokens are
query rows in the last layer.

Shapes: B images, P patches, K representation tokens, n layers with tokens, D tower width,
E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from ..blocks import (
    Block,
    block_reason,
    blocks_of,
    compose,
    keys_values,
    run_block,
    runs_quick_gelu,
)
from ..learner import Projection
from ..whole_blocks import are_plain, run_whole
from .tower import AdaptedRows, ImageTower, adapted_rows


@dataclass(frozen=True)
class OpenClipTower(ImageTower):
    """What both families of open_clip's VisionTransformer share."""

    visual: VisionTransformer
    rows_read: ClassVar[int | None]
    """How many of the own rows are read after the last layer, the first ones; None: all."""

    @staticmethod
    def unsupported_reason(visual: VisionTransformer) -> str | None:
        """Return why it does not support tokens, or None."""
        if visual.pool_type == "none":
            return "its image tower does not pool"
        if visual.proj is None:
            return "its image tower has no projection"
        return block_reason(visual.transformer.resblocks[0])

    @property
    def family(self) -> str:
        """What kind of tower it is, in words."""
        if self.visual.attn_pool is not None:
            return "open_clip ViT, attention pooling"
        return f"open_clip ViT, {'class token' if self.rows_read == 1 else 'average pooling'}"

    @property
    def width(self) -> int:
        """D, width of the rows."""
        return self.visual.transformer.width

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
        return runs_quick_gelu(self.visual.transformer)

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

    def with_tokens(
        self, rows: Tensor, tokens: Tensor, beta: float, norms: bool = False
    ) -> AdaptedRows:
        """Run the upper layers with tokens; see the base class."""
        x, batch, count = rows, rows.shape[0], tokens.shape[1]
        outputs: list[tuple[Tensor, Tensor]] = []  # own and token rows, layer by layer
        if not are_plain(self._upper):
            found: list[Tensor] | None = [] if norms else None
            x = run_whole(self._upper, x, tokens, beta, recompute=self._recompute, outputs=found)
            for y in found or [x]:
                own = torch.cat([y[:, :1], y[:, 1 + count :]], dim=1)
                outputs.append((own, y[:, 1 : 1 + count]))
            return adapted_rows(outputs, self.rows_read, norms)
        *upper, last = zip(self._upper, tokens.to(x.dtype), strict=True)
        previous = None
        for block, own in upper:
            if beta == 1 and not norms:
                # The tokens' outputs are replaced anyway: they only give keys and values, the
                # same ones for every image.
                shared = keys_values(block, own.unsqueeze(0))  # [1, H, K, d]
                x = run_block(block, x, shared=shared, recompute=self._recompute)
            else:
                joined = torch.cat([compose(own, previous, beta, batch), x], dim=1)
                joined = run_block(block, joined, recompute=self._recompute)  # [B, K + 1 + P, D]
                previous, x = joined[:, :count], joined[:, count:]
                if norms:
                    outputs.append((x, previous))
        block, own = last
        joined = torch.cat([compose(own, previous, beta, batch), x], dim=1)  # [B, K + 1 + P, D]
        read = self._run_last(block, joined, count)
        outputs.append((read[:, count:], read[:, :count]))
        return adapted_rows(outputs, self.rows_read, norms)

    def without_tokens(self, rows: Tensor) -> Tensor:
        """Run the upper layers as frozen CLIP: rows [B, 1 + P, D] -> own rows that are read."""
        if not are_plain(self._upper):
            return run_whole(self._upper, rows)
        *upper, last = self._upper
        for block in upper:
            rows = run_block(block, rows)
        return self._run_last(last, rows, 0)

    def _run_last(self, block: Block, rows: Tensor, count: int) -> Tensor:
        """Run the last layer over rows whose first `count` are the tokens'."""
        queries = None if self.rows_read is None else rows[:, : count + self.rows_read]
        return run_block(block, rows, queries=queries)


@dataclass(frozen=True)
class ClassTokenTower(OpenClipTower):
    """open_clip's VisionTransformer that reads its class token."""

    rows_read = 1

    @classmethod
    def matches(cls, visual: nn.Module) -> bool:
        """Return whether it is one, with nothing after the class token but norm and projection."""
        is_vit = isinstance(visual, VisionTransformer)
        return is_vit and visual.attn_pool is None and visual.pool_type == "tok"

    def class_feature(self, own: Tensor) -> Tensor:
        """Project rows [B, 1 or more, D] -> class feature [B, E], of the first: the class row."""
        return self.visual.ln_post(own[:, 0]) @ self.visual.proj

    def representation_feature(self, rows: Tensor, projection: Projection) -> Tensor:
        """Project token rows [B, K, D] -> feature [B, E]: norm, mean, projection.

        The paper's text averages first; the released code, which made its numbers, norms first.
        """
        pooled = self.visual.ln_post(rows).mean(dim=1)  # [B, D]
        return pooled @ projection(self.visual.proj).to(pooled.dtype)


@dataclass(frozen=True)
class PooledTower(OpenClipTower):
    """open_clip's VisionTransformer that pools its rows: by their mean, or by attention.

    It reads all rows, so all of them are query rows in the last layer too. Token rows are left
    out of the base's own pooling.
    """

    rows_read = None

    @classmethod
    def matches(cls, visual: nn.Module) -> bool:
        """Return whether it is one."""
        return isinstance(visual, VisionTransformer)

    def class_feature(self, own: Tensor) -> Tensor:
        """Pool and project rows [B, 1 + P, D] -> class feature [B, E], by its own methods."""
        return self.visual._pool(own)[0] @ self.visual.proj

    def representation_feature(self, rows: Tensor, projection: Projection) -> Tensor:
        """Pool and project token rows [B, K, D] -> feature [B, E].

        The norm is where the tower has it: before or after the mean; with attention pooling, that
        of the pooling's keys.
        """
        visual = self.visual
        if visual.attn_pool is not None:
            pooled = visual.attn_pool.ln_k(rows).mean(dim=1)  # [B, D]
            feature = pooled @ projection().to(pooled.dtype)
            return self.class_feature(rows) + feature if projection.adds_to_head else feature
        after = visual.final_ln_after_pool
        pooled = visual.ln_post(rows.mean(dim=1)) if after else visual.ln_post(rows).mean(dim=1)
        return pooled @ projection(visual.proj).to(pooled.dtype)
