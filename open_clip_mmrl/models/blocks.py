"""One residual attention block of open_clip's transformers, for some rows at a time.

open_clip's own block computes a new value for every row it is given. Here *query rows* get a new
value, and *key/value rows* are only attended to. This makes the exact shortcuts possible: keys and
values of the representation tokens are computed once for a whole batch, and the last layer updates
only the rows that are read.

Both of open_clip's blocks are supported: ResidualAttentionBlock (torch's MultiheadAttention) and
CustomResidualAttentionBlock (its own Attention, with optional norms inside).

Shapes: B batch (1 where all samples share the rows), N key/value rows, M query rows, D width,
H heads, d = D / H.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeAlias, cast

import torch
from open_clip.transformer import (
    Attention,
    CustomResidualAttentionBlock,
    QuickGELU,
    ResidualAttentionBlock,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right
from torch.utils.checkpoint import checkpoint

Block: TypeAlias = ResidualAttentionBlock | CustomResidualAttentionBlock


class KeysValues(NamedTuple):
    """Keys and values of some rows, each [B, H, N, d]."""

    keys: Tensor
    values: Tensor


def blocks_of(transformer: nn.Module) -> Sequence[Block]:
    """Return the blocks of one of open_clip's transformers, first to last."""
    # What else open_clip could have put there, `support` refuses.
    return cast("Sequence[Block]", transformer.resblocks)


def runs_quick_gelu(transformer: nn.Module) -> bool:
    """Return whether its blocks run QuickGELU; GELU otherwise."""
    return isinstance(blocks_of(transformer)[0].mlp.gelu, QuickGELU)


def block_reason(block: nn.Module) -> str | None:
    """Return why this block cannot be run row by row, or None."""
    attention = block.attn
    if getattr(attention, "in_proj_weight", None) is None:
        return "its attention has separate query, key and value weights"
    if getattr(attention, "logit_scale", None) is not None:
        return "it uses scaled cosine attention"
    return None


def _project(
    attention: nn.MultiheadAttention | Attention, x: Tensor, first: int, last: int
) -> list[Tensor]:
    """Parts first..last-1 of the fused (q, k, v) product over x [B, N, D], each [B, H, N, d]."""
    batch, rows, width = x.shape
    span = slice(first * width, last * width)
    bias = attention.in_proj_bias
    y = F.linear(x, attention.in_proj_weight[span], None if bias is None else bias[span])
    low_rank = getattr(attention, "low_rank", None)
    if low_rank is not None:  # put there by `peers.clip_lora`
        y = y + low_rank(x, first, last)
    heads = attention.num_heads
    parts = y.view(batch, rows, last - first, heads, width // heads).permute(2, 0, 3, 1, 4)
    norms = (getattr(attention, "ln_q", None), getattr(attention, "ln_k", None), None)
    return [p if n is None else n(p) for p, n in zip(parts, norms[first:last], strict=True)]


def keys_values(block: Block, x: Tensor) -> KeysValues:
    """Return the keys and values of rows x [B, N, D] in this block."""
    return KeysValues(*_project(block.attn, block.ln_1(x), 1, 3))


def compose(tokens: Tensor, previous: Tensor | None, beta: float, batch: int) -> Tensor:
    """Compose the tokens that enter a layer, [B, K, D]; the same in both towers.

    Args:
        tokens: this layer's tokens, [K, D].
        previous: the previous layer's output tokens, [B, K, D]; None in the first layer with
            tokens.
        beta: share of this layer's tokens: beta * tokens + (1 - beta) * previous.
        batch: B.
    """
    tokens = tokens.expand(batch, -1, -1)  # [B, K, D]
    return tokens if previous is None or beta == 1 else beta * tokens + (1 - beta) * previous


def run_block(
    block: Block,
    x: Tensor,
    *,
    queries: Tensor | None = None,
    shared: KeysValues | None = None,
    mask: Tensor | None = None,
    recompute: bool = False,
) -> Tensor:
    """Return the new values of the query rows.

    Args:
        block: one of open_clip's residual attention blocks.
        x: key/value rows, [B, N, D].
        queries: query rows, [B, M, D]; None means all of x.
        shared: N' more key/value rows, in front of x; batch B or 1.
        mask: bool, broadcastable to [B, H, M, N' + N], True where a query row may attend; or one
            of `torch.nn.attention.bias`.
        recompute: keep nothing for the backward pass but compute the block again there
            (open_clip's gradient checkpointing).

    Returns:
        [B, M, D].
    """
    if recompute and torch.is_grad_enabled():
        run = partial(run_block, block, queries=queries, shared=shared, mask=mask)
        return checkpoint(run, x, use_reentrant=False, preserve_rng_state=False)
    attention = block.attn
    normed = block.ln_1(x)
    if queries is None:
        queries = x
        q, k, v = _project(attention, normed, 0, 3)  # [B, H, N, d] each
    else:
        (q,) = _project(attention, block.ln_1(queries), 0, 1)  # [B, H, M, d]
        k, v = _project(attention, normed, 1, 3)  # [B, H, N, d] each
    if shared is not None:
        # All three become copies here, so the fused product, of which the backward pass would
        # otherwise keep every part because of q, is freed: a fifth less memory in training.
        q = q.contiguous()
        k = torch.cat([shared.keys.expand(k.shape[0], -1, -1, -1), k], dim=2)  # [B, H, N' + N, d]
        v = torch.cat([shared.values.expand(v.shape[0], -1, -1, -1), v], dim=2)
    # Norms of queries and keys return float32 under autocast, which would convert them here, but
    # not before the kernels that a causal bias calls.
    y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=mask)
    head_scale = getattr(attention, "head_scale", None)
    if head_scale is not None:
        y = y * head_scale
    y = y.transpose(1, 2).flatten(2)  # [B, H, M, d] -> [B, M, D]
    inner, outer = getattr(attention, "ln_inner", None), getattr(block, "ln_attn", None)
    y = attention.out_proj(y if inner is None else inner(y))
    y = y if outer is None else outer(y)
    queries = queries + block.ls_1(y)
    return queries + block.ls_2(block.mlp(block.ln_2(queries)))


def causal_mask(rows: int, prefix: int, device: torch.device) -> Tensor:
    """Let every row attend to the prefix, itself and the rows before it: [rows, prefix + rows].

    On CUDA a bias, for fused kernels (not run on a GPU so far); a CPU would turn it into a mask.
    """
    if device.type == "cuda":
        return causal_lower_right(rows, prefix + rows)
    mask = torch.ones(rows, prefix + rows, dtype=torch.bool, device=device)
    return mask.tril(diagonal=prefix)
