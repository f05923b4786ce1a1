"""The causal text tower (CLIP) with representation tokens, over the prompts of a set of classes.

Tokens are placed after the first token (BOS) and before the rest. The tower is causal, so

- the rows [BOS, tokens], the *prefix*, do not depend on the rest of the prompt: one copy serves
  all prompts that begin with the same token, which for CLIP's own tokenizer is all of them. It is
  run once, and the rest of the prompts attends to its keys and values;
- rows after a prompt's end are never read. Prompts are cropped, in groups of similar length, so
  that one long name does not make all the others long;
- layers 1 .. J-1 have constant input: `ClassPrompts` keeps their output;
- only one row of a prompt is pooled, usually that of its end token (EOT): in the last layer it is
  the only query row.

Grouping by length reads the tokens, which a graph cannot: under torch.export, torch.compile and
torch.jit.trace prompts stay as they are, `FullPrompts`, and every row goes through every layer.

Where a block has hooks or is changed, that is so too (see `whole_blocks`).

Shapes: C prompts, N token ids of one, c prompts in a group, T rows of the group's longest after
its first token, U different first tokens (usually 1), K representation tokens, n layers with
tokens, P = 1 + K rows of a prefix (1 without tokens), D tower width, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..blocks import Block, KeysValues, causal_mask, compose, keys_values, run_block
from ..whole_blocks import are_plain
from .class_prompts import ClassPrompts, FullPrompts, PromptGroup, length_groups
from .rows import TextRows
from .tower import check_tokens

FROZEN_CHUNK = 1024
"""Prompts at a time where nothing is differentiated: bounds memory at no cost in time."""


class CausalTextTower(TextRows):
    """open_clip's causal text tower, divided where the tokens enter."""

    family = "causal"

    def _read_words(self, words: Tensor, end: Tensor) -> Tensor:
        """Rows after the one that is read count for nothing."""
        columns = torch.arange(words.shape[1], device=words.device)
        return words.masked_fill(columns > end[:, None], -1)

    def lower(self, tokens: Tensor) -> ClassPrompts | FullPrompts:
        """Run layers 1 .. J-1 over tokens [C, N], N up to the context length.

        Runs `FROZEN_CHUNK` prompts at a time; all of them, ungrouped, while a graph is traced.

        Raises:
            ValueError: the tokens are not integers of such a shape.
        """
        check_tokens(tokens, self.positional_embedding.shape[0], self.vocab_size)
        end = self.end_positions(tokens)
        if self._runs_whole:
            return self._lower_whole(tokens, end)
        ids, begin = tokens[:, 0].unique(return_inverse=True)
        prefixes, bos = self._run_prefix(self._lower, self._embed(ids[:, None], 0))
        groups, members = [], length_groups(end)
        for index in members:
            rows = tokens[index, 1 : int(end[index].max()) + 1]  # [c, T]
            group = PromptGroup(self._embed(rows, 1), end[index], begin[index])
            parts = [_run_rest(self._lower, p, prefixes) for p in group.split(FROZEN_CHUNK)]
            groups.append(PromptGroup(torch.cat(parts), group.end, group.begin))
        inverse_order = torch.cat([end.new_zeros(0), *members]).argsort()
        return ClassPrompts(groups=tuple(groups), bos=bos, inverse_order=inverse_order)

    def with_tokens(
        self,
        prompts: ClassPrompts | FullPrompts,
        rep_tokens: Tensor,
        beta: float,
        chunk_size: int | None = None,
    ) -> Tensor:
        """Run layers J .. L with tokens -> the pooled rows, [C, D]; see `TextTower`.

        `FROZEN_CHUNK` prompts at a time where there are no gradients.
        """
        if isinstance(prompts, FullPrompts) or not are_plain(self._upper):
            return self._read_whole(_ungrouped(prompts), rep_tokens, beta, chunk_size)
        prefix = self._run_prefix(self._upper, prompts.bos.to(self._row_dtype), rep_tokens, beta)
        return self._read(prompts, *prefix, chunk_size)

    def without_tokens(self, prompts: ClassPrompts | FullPrompts) -> Tensor:
        """Run layers J .. L as frozen CLIP does -> the pooled rows, [C, D]."""
        if isinstance(prompts, FullPrompts) or not are_plain(self._upper):
            return self._read_whole(_ungrouped(prompts))
        prefix = self._run_prefix(self._upper, prompts.bos.to(self._row_dtype))
        return self._read(prompts, *prefix, None)

    @staticmethod
    def _run_prefix(
        blocks: Sequence[Block], bos: Tensor, rep_tokens: Tensor | None = None, beta: float = 1.0
    ) -> tuple[list[KeysValues], Tensor]:
        """Run [BOS, rep_tokens] alone -> keys and values in every block, and BOS after all of them.

        bos [U, 1, D]; rep_tokens [n, K, D], one set per block, or None.
        """
        previous, prefixes = None, []
        mask = causal_mask(1 if rep_tokens is None else 1 + rep_tokens.shape[1], 0, bos.device)
        for i, block in enumerate(blocks):
            prefix = bos
            if rep_tokens is not None:
                composed = compose(rep_tokens[i].to(bos.dtype), previous, beta, bos.shape[0])
                prefix = torch.cat([bos, composed], dim=1)  # [U, P, D]
            prefixes.append(keys_values(block, prefix))
            prefix = run_block(block, prefix, mask=mask)
            bos, previous = prefix[:, :1], prefix[:, 1:]
        return prefixes, bos

    def _read(
        self,
        prompts: ClassPrompts,
        prefixes: list[KeysValues],
        bos: Tensor,
        chunk_size: int | None,
    ) -> Tensor:
        """Run layers J .. L of all groups after their prefixes -> [C, D] in the prompts' order."""
        recompute = self.transformer.grad_checkpointing

        def run(group: PromptGroup) -> Tensor:
            group = replace(group, rest=group.rest.to(bos.dtype))  # may be prepared in float32
            return _read_rest(self._upper, group, prefixes, bos, recompute)

        if not torch.is_grad_enabled():
            chunk_size = chunk_size or FROZEN_CHUNK
        rows = [bos.new_zeros(0, bos.shape[-1])]
        for part in (part for group in prompts.groups for part in group.split(chunk_size)):
            if chunk_size is not None and torch.is_grad_enabled():
                rows.append(checkpoint(run, part, use_reentrant=False, preserve_rng_state=False))
            else:
                rows.append(run(part))
        return torch.cat(rows)[prompts.inverse_order]


def _ungrouped(prompts: ClassPrompts | FullPrompts) -> FullPrompts:
    return prompts.ungrouped() if isinstance(prompts, ClassPrompts) else prompts


def _run_rest(
    blocks: Sequence[Block],
    group: PromptGroup,
    prefixes: Sequence[KeysValues],
    recompute: bool = False,
) -> Tensor:
    """Run the rows after the prefix through some blocks -> [c, T, D]."""
    x = group.rest
    if not prefixes:
        return x
    mask = causal_mask(x.shape[1], prefixes[0].keys.shape[2], x.device)
    for block, prefix in zip(blocks, prefixes, strict=True):
        shared = _per_prompt(prefix, group.begin)
        x = run_block(block, x, shared=shared, mask=mask, recompute=recompute)
    return x


def _read_rest(
    blocks: Sequence[Block],
    group: PromptGroup,
    prefixes: Sequence[KeysValues],
    bos: Tensor,
    recompute: bool,
) -> Tensor:
    """Return the pooled row, [c, D]; in the last block it is the only query row.

    A prompt may end at its first token (no end token in it): then BOS, [U, 1, D] after all
    blocks, is read, as open_clip does.
    """
    at_bos = bos[group.begin, 0]  # [c, D]
    if not group.rest.shape[1]:
        return at_bos
    x = _run_rest(blocks[:-1], group, prefixes[:-1], recompute)
    block, prefix = blocks[-1], prefixes[-1]
    index = (group.end - 1).clamp(min=0)
    row = x[torch.arange(len(x), device=x.device), index].unsqueeze(1)  # [c, 1, D]
    count = prefix.keys.shape[2]
    keys = torch.arange(count + x.shape[1], device=x.device)
    mask = (keys < count + group.end[:, None])[:, None, None]  # [c, 1, 1, P + T]
    shared = _per_prompt(prefix, group.begin)
    row = run_block(block, x, queries=row, shared=shared, mask=mask)[:, 0]
    return torch.where(group.end[:, None] > 0, row, at_bos)


def _per_prompt(prefix: KeysValues, begin: Tensor) -> KeysValues:
    """Return the prefix's keys and values for every prompt; a single prefix is broadcast."""
    if prefix.keys.shape[0] == 1:
        return prefix
    return KeysValues(prefix.keys[begin], prefix.values[begin])
