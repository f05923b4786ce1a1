"""The bidirectional text tower (SigLIP, CLIPA, MobileCLIP2-L) with representation tokens.

Every row attends to every row, padding included (these towers are trained so). Of the causal
tower's shortcuts

- layers 1 .. J-1 have constant input: `FullPrompts` keeps their output;
- only the pooled row is a query row in the last layer;
- with beta 1 the tokens' outputs are replaced anyway: they only give keys and values, the same
  ones for every prompt;

hold here too. A shared prefix and cropped prompts do not: prompts keep the context length, and
memory is that of all their rows. `text_chunk_size` bounds it.

While a graph is traced, and where a block has hooks or is changed (see `whole_blocks`), every row
goes through every layer.

Tokens get no position, so their place among the rows has no effect; here they are in front.

Shapes: C prompts, N rows of a prompt, K representation tokens, n layers with tokens,
D tower width.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..blocks import compose, keys_values, run_block
from .class_prompts import FullPrompts
from .rows import TextRows
from .tower import check_tokens

FROZEN_CHUNK = 128
"""Prompts at a time where nothing is differentiated: with 64 rows each, 8,192 rows."""


class BidirectionalTextTower(TextRows):
    """open_clip's text tower without a causal mask, divided where the tokens enter."""

    family = "bidirectional"

    def lower(self, tokens: Tensor) -> FullPrompts:
        """Run layers 1 .. J-1 over tokens [C, N], N up to the context length.

        Runs `FROZEN_CHUNK` prompts at a time. Padding is attended to: N has to be what the
        tokenizer gives.

        Raises:
            ValueError: the tokens are not integers of such a shape.
        """
        check_tokens(tokens, self.positional_embedding.shape[0], self.vocab_size)
        end = self.end_positions(tokens)
        if self._runs_whole:
            return self._lower_whole(tokens, end)
        parts = []
        for ids in tokens.split(FROZEN_CHUNK):
            x = self._embed(ids)
            for block in self._lower:
                x = run_block(block, x)
            parts.append(x)
        return FullPrompts(torch.cat(parts), end)

    def with_tokens(
        self, prompts: FullPrompts, rep_tokens: Tensor, beta: float, chunk_size: int | None = None
    ) -> Tensor:
        """Run layers J .. L with tokens -> the pooled rows, [C, D]; see `TextTower`.

        `FROZEN_CHUNK` prompts at a time where there are no gradients.
        """
        if self._runs_whole:
            return self._read_whole(prompts, rep_tokens, beta, chunk_size)
        return self._read(prompts, rep_tokens.to(self._row_dtype), beta, chunk_size)

    def without_tokens(self, prompts: FullPrompts) -> Tensor:
        """Run layers J .. L as frozen CLIP does -> the pooled rows, [C, D]."""
        if self._runs_whole:
            return self._read_whole(prompts)
        return self._read(prompts, None, 1.0, None)

    def _read(
        self, prompts: FullPrompts, rep_tokens: Tensor | None, beta: float, chunk_size: int | None
    ) -> Tensor:
        differentiated = torch.is_grad_enabled() and rep_tokens is not None
        run = self._pooled
        if differentiated and chunk_size is not None:
            run = partial(checkpoint, run, use_reentrant=False, preserve_rng_state=False)
        size = chunk_size or (max(1, len(prompts)) if differentiated else FROZEN_CHUNK)
        return torch.cat([run(part, rep_tokens, beta) for part in prompts.split(size)])

    def _pooled(self, prompts: FullPrompts, rep_tokens: Tensor | None, beta: float) -> Tensor:
        """Run layers J .. L over a part of the prompts -> the pooled rows, [C, D]."""
        x = prompts.rows.to(self._row_dtype)  # may be prepared in float32
        recompute = self.transformer.grad_checkpointing
        previous, shared, last = None, None, len(self._upper) - 1
        for i, block in enumerate(self._upper):
            if rep_tokens is not None:
                own = compose(rep_tokens[i], previous, beta, 1 if previous is None else len(x))
                if beta != 1 and i < last:
                    rows = torch.cat([own.expand(len(x), -1, -1), x], dim=1)  # [C, K + N, D]
                    rows = run_block(block, rows, recompute=recompute)
                    previous, x = rows[:, : own.shape[1]], rows[:, own.shape[1] :]
                    continue
                shared = keys_values(block, own)  # [1 or C, H, K, d]
            if i < last:
                x = run_block(block, x, shared=shared, recompute=recompute)
        row = x[torch.arange(len(x), device=x.device), prompts.end].unsqueeze(1)  # [C, 1, D]
        return run_block(self._upper[last], x, queries=row, shared=shared)[:, 0]
