"""One residual attention block of open_clip's transformers, run row by row as needed.

open_clip's own block gives every row it is shown a new value. Here the rows that *ask* (and get
a new value) are told apart from the rows that *are asked* (and only lend keys and values). This
is what makes the exact shortcuts possible: keys and values of the representation tokens are
computed once for a whole batch, and the last layer updates only the rows that are read.

Both of open_clip's blocks are served: ResidualAttentionBlock (torch's MultiheadAttention) and
CustomResidualAttentionBlock (its own Attention, with optional norms inside).

Shapes: B batch (1 where all samples share the rows), N rows, D width, H heads, d = D / H.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class KeysValues(NamedTuple):
    """Keys and values of some rows, each [B, H, N, d]."""

    keys: Tensor
    values: Tensor


def _project(attention: nn.Module, x: Tensor, first: int, last: int) -> list[Tensor]:
    """Parts first..last-1 of the fused (q, k, v) product over x [B, N, D], each [B, H, N, d]."""
    batch, rows, width = x.shape
    span = slice(first * width, last * width)
    bias = attention.in_proj_bias
    y = F.linear(x, attention.in_proj_weight[span], None if bias is None else bias[span])
    heads = attention.num_heads
    parts = y.view(batch, rows, last - first, heads, width // heads).permute(2, 0, 3, 1, 4)
    norms = (getattr(attention, "ln_q", None), getattr(attention, "ln_k", None), None)
    return [p if n is None else n(p) for p, n in zip(parts, norms[first:last], strict=True)]


def keys_values(block: nn.Module, x: Tensor) -> KeysValues:
    """What rows x [B, N, D] lend to others when they are asked in this block."""
    return KeysValues(*_project(block.attn, block.ln_1(x), 1, 3))


def compose(fresh: Tensor, carried: Tensor | None, beta: float, batch: int) -> Tensor:
    """Tokens in front of a layer, [B, K, D], from its own [K, D] and the carried [B, K, D].

    In the first layer with tokens nothing is carried; above it their output of the layer below
    is: beta * fresh + (1 - beta) * carried. The same in both towers.
    """
    fresh = fresh.expand(batch, -1, -1)
    return fresh if carried is None else beta * fresh + (1 - beta) * carried


def run_block(
    block: nn.Module,
    x: Tensor,
    *,
    asking: Tensor | None = None,
    shared: KeysValues | None = None,
    mask: Tensor | None = None,
    recompute: bool = False,
) -> Tensor:
    """New values of the asking rows.

    Args:
        block: one of open_clip's residual attention blocks.
        x: rows that are asked, [B, N, D].
        asking: rows that ask, [B, M, D]; None means all of x.
        shared: further rows that are asked, N' of them, in front of x; batch B or 1.
        mask: bool, broadcastable to [B, H, M, N' + N], True where a row may look; or one of
            `torch.nn.attention.bias`.
        recompute: keep nothing for the backward pass but compute the block again there
            (open_clip's gradient checkpointing).

    Returns:
        [B, M, D].
    """
    if recompute and torch.is_grad_enabled():
        run = partial(run_block, block, asking=asking, shared=shared, mask=mask)
        return checkpoint(run, x, use_reentrant=False, preserve_rng_state=False)
    attention = block.attn
    normed = block.ln_1(x)
    if asking is None:
        asking = x
        q, k, v = _project(attention, normed, 0, 3)
    else:
        (q,) = _project(attention, block.ln_1(asking), 0, 1)
        k, v = _project(attention, normed, 1, 3)
    if shared is not None:
        # All three are copies now, and the fused product, of which the backward pass would keep
        # every part for the sake of q, can go: a fifth less memory in training.
        q = q.contiguous()
        k = torch.cat([shared.keys.expand(k.shape[0], -1, -1, -1), k], dim=2)
        v = torch.cat([shared.values.expand(v.shape[0], -1, -1, -1), v], dim=2)
    # Norms of queries and keys leave float32 under autocast; it would convert them here, but not
    # in front of the kernels that a causal bias calls.
    y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=mask)
    if getattr(attention, "head_scale", None) is not None:
        y = y * attention.head_scale
    y = y.transpose(1, 2).flatten(2)
    if hasattr(attention, "ln_inner"):
        y = attention.ln_inner(y)
    y = attention.out_proj(y)
    if hasattr(block, "ln_attn"):
        y = block.ln_attn(y)
    asking = asking + block.ls_1(y)
    return asking + block.ls_2(block.mlp(block.ln_2(asking)))
