"""Blocks run whole: what others put on them works, at the price of the shortcuts.

`blocks` runs open_clip's blocks part by part, where hooks on a block would not fire, and where a
wrapper (FSDP) or another attention (LoRA) would have no effect. Towers ask `are_plain` first, and
otherwise take `run_whole`: every row through every layer in stock order, and by the block's own
call where it is not plain. The same path serves graphs, where prompts cannot be grouped.

Modules that hold blocks (`model.visual`, `model.transformer`) are never called, since tokens enter
between their blocks: `warn_bypassed` reports hooks on them.

Shapes: B samples, P rows after the first, n blocks with tokens, K representation tokens, D width.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

import torch
from open_clip.transformer import Attention, CustomResidualAttentionBlock, ResidualAttentionBlock
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .blocks import Block, compose, run_block

logger = logging.getLogger(__name__)

_ATTENTION: dict[type[nn.Module], type[nn.Module]] = {
    ResidualAttentionBlock: nn.MultiheadAttention,
    CustomResidualAttentionBlock: Attention,
}


def is_changed(module: nn.Module) -> bool:
    """Return whether calling a module or a part of it does more than its class's forward."""
    if _does_more(module):
        return True
    return any(is_changed(part) for part in module._modules.values() if part is not None)


def _does_more(module: nn.Module) -> bool:
    """Return whether it has hooks (FSDP), an own forward (accelerate), or is compiled."""
    own = module.__dict__  # read directly: this runs for every block in every step
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
        or "_compiled_call_impl" in own
        or "_orig_mod" in own["_modules"]
    )


def warn_bypassed(name: str, module: nn.Module) -> None:
    """Warn once where a module that holds blocks is never called, but does more when called."""
    if _does_more(module) and not torch.compiler.is_dynamo_compiling():
        _warn_bypassed(name)


@cache
def _warn_bypassed(name: str) -> None:
    logger.warning(
        "Hooks on model.%s do not fire, and sharding or compiling it does nothing: tokens enter "
        "between its blocks, so it is not called as a whole. Use its blocks, its other parts, or "
        "the whole model.",
        name,
    )


def are_plain(blocks: Sequence[nn.Module]) -> bool:
    """Return whether blocks may be run part by part; warn once where they may not.

    They may not where a part is changed, or where the attention is not open_clip's (LoRA).
    """
    for block in blocks:
        attention = type(getattr(block, "attn", None))
        if attention is not _ATTENTION.get(type(block)) or is_changed(block):
            if not torch.compiler.is_dynamo_compiling():
                _warn(type(block).__name__, attention.__name__)
            return False
    return True


@cache
def _warn(block: str, attention: str) -> None:
    logger.warning(
        "A block (%s with %s) has hooks, is wrapped, or was changed: its tower calls its blocks as "
        "they are, all rows through every layer. That is slower, and changes nothing else.",
        block,
        attention,
    )


def run_whole(
    blocks: Sequence[Block],
    x: Tensor,
    tokens: Tensor | None = None,
    beta: float = 1.0,
    *,
    causal: bool = False,
    recompute: bool = False,
    outputs: list[Tensor] | None = None,
) -> Tensor:
    """Run every row through every block, in stock order: the method without shortcuts.

    Args:
        blocks: all of one tower's, or some in a row.
        x: rows [B, 1 + P, D]; the first is the class token or BOS.
        tokens: [n, K, D], one set per block, placed after the first row; None runs the base.
        beta: as in `compose`.
        causal: whether a row attends only to the rows before it, and itself.
        recompute: as in `run_block`.
        outputs: every block's new rows are appended to it.

    Returns:
        [B, 1 + K + P, D]; without tokens [B, 1 + P, D].
    """
    count = 0 if tokens is None else tokens.shape[1]
    order = torch.arange(count + x.shape[1], device=x.device)
    mask = order <= order[:, None] if causal else None
    previous, rest = None, x[:, 1:]
    for i, block in enumerate(blocks):
        if tokens is not None:
            own = compose(tokens[i].to(x.dtype), previous, beta, x.shape[0])
            x = torch.cat([x[:, :1], own, rest], dim=1)  # [B, 1 + K + P, D]
        x = _call(block, x, mask, recompute)
        if outputs is not None:
            outputs.append(x)
        previous, rest = x[:, 1 : 1 + count], x[:, 1 + count :]
    return x


def _call(block: Block, x: Tensor, mask: Tensor | None, recompute: bool) -> Tensor:
    """Run all rows by the block's own call, where that may differ from `run_block`."""
    if are_plain([block]):
        return run_block(block, x, mask=mask, recompute=recompute)
    if mask is not None:  # open_clip adds it to the scores
        mask = torch.zeros_like(mask, dtype=x.dtype).masked_fill(~mask, float("-inf"))
    if recompute and torch.is_grad_enabled():
        return checkpoint(block, x, attn_mask=mask, use_reentrant=False)
    return block(x, attn_mask=mask)
