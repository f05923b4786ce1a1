"""The image side of the literal reference: stock forward passes, with the tokens spliced in.

The base's own forward pass runs every row through every layer. Hooks on its blocks put the token
rows after the prefix rows (class and register tokens) before the first layer with tokens, replace
or mix them before the later ones, and take them out after the last. So the pass returns the class
feature by itself, of whatever family the tower is; the representation feature is computed from
the token rows.

Shapes: B images, K representation tokens, D tower width, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from .learner import FullProjection, Projection


class SplicedTokens:
    """A forward pass with hooks; `rows` [B, K, D] are then the token rows after the last layer.

    `norms` are those of the class row (the mean of all own rows, where they are pooled) [B] and of
    the tokens [B, K], for each of the layers.

    Args:
        visual: open_clip's image tower.
        tokens: [K, D] for each of the last layers.
        beta: share of a layer's tokens against the previous layer's output tokens.
    """

    rows: Tensor
    norms: list[tuple[Tensor, Tensor]]

    def __init__(self, visual: Any, tokens: Sequence[Tensor], beta: float) -> None:
        self._visual, self._tokens, self._beta = visual, tokens, beta
        self._count = len(tokens[0])
        is_timm = isinstance(visual, TimmModel)
        layers: Any = visual.trunk if is_timm else visual.transformer
        self._layers = layers
        self._blocks = [*(layers.blocks if is_timm else layers.resblocks)][-len(tokens) :]
        self._prefix = layers.num_prefix_tokens if is_timm else 1
        pooling = layers.global_pool if is_timm else visual.pool_type
        is_pooled = pooling not in ("token", "tok") or getattr(visual, "attn_pool", None)
        self._own = slice(None) if is_pooled else slice(1)
        """Own rows that the class feature is read from."""

    def run(self, images: Tensor, norms: bool = False) -> Tensor:
        """Run images [B, 3, H, W] -> the tower's own feature, [B, E]; measure `norms` if wanted."""
        recompute = self._layers.grad_checkpointing
        # Checkpoints would run the blocks again when the hooks are gone.
        self._layers.grad_checkpointing = False
        handles = [block.register_forward_pre_hook(self._splice) for block in self._blocks]
        self.norms = []
        for block in self._blocks if norms else ():
            handles.append(block.register_forward_hook(self._measure))
        handles.append(self._blocks[-1].register_forward_hook(self._take_out))
        rotary = [block.attn for block in self._blocks if hasattr(block.attn, "num_prefix_tokens")]
        for attention in rotary:  # those rows are not rotated
            attention.num_prefix_tokens += self._count
        try:
            return self._visual(images)
        finally:
            for attention in rotary:
                attention.num_prefix_tokens -= self._count
            for handle in handles:
                handle.remove()
            self._layers.grad_checkpointing = recompute

    def _splice(self, block: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        x, layer = args[0], self._blocks.index(block)
        own = self._tokens[layer].expand(x.shape[0], -1, -1)  # [B, K, D]
        end = self._prefix
        if layer:
            previous = x[:, self._prefix : self._prefix + self._count]
            own, end = self._beta * own + (1 - self._beta) * previous, self._prefix + self._count
        return (torch.cat([x[:, : self._prefix], own, x[:, end:]], dim=1),)

    def _measure(self, _block: nn.Module, _args: object, x: Tensor) -> None:
        norms, end = x.square().sum(dim=-1).sqrt(), self._prefix + self._count  # [B, N + K]
        own = torch.cat([norms[:, : self._prefix], norms[:, end:]], dim=1)
        self.norms.append((own[:, self._own].mean(dim=1), norms[:, self._prefix : end]))

    def _take_out(self, _block: nn.Module, _args: object, x: Tensor) -> Tensor:
        end = self._prefix + self._count
        self.rows = x[:, self._prefix : end]
        return torch.cat([x[:, : self._prefix], x[:, end:]], dim=1)


def representation_feature(visual: Any, rows: Tensor, projection: Projection) -> Tensor:
    """Pool and project token rows [B, K, D] -> [B, E]."""
    read = _read_timm if isinstance(visual, TimmModel) else _read
    pooled, by_head = read(visual, rows)
    if isinstance(projection, FullProjection):
        return pooled @ projection.weight
    return by_head + pooled @ projection.residual_d @ projection.residual_u


def _read(visual: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of normed rows [B, D], and what the frozen head reads from them [B, E]."""
    if visual.attn_pool is not None:
        return visual.attn_pool.ln_k(rows).mean(dim=1), visual._pool(rows)[0] @ visual.proj
    if visual.pool_type == "avg" and visual.final_ln_after_pool:
        pooled = visual.ln_post(rows.mean(dim=1))
    else:
        pooled = visual.ln_post(rows).mean(dim=1)
    return pooled, pooled @ visual.proj


def _read_timm(visual: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same of timm's trunks."""
    trunk = visual.trunk
    rows = trunk.norm(rows)
    pooled = by_head = trunk.fc_norm(torch.stack([row.mean(dim=0) for row in rows]))
    if trunk.global_pool == "map":
        by_head = trunk.fc_norm(trunk.attn_pool(rows))
    return pooled, visual.head(trunk.head(by_head))
