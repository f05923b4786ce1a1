"""The text tower with representation tokens, over the prompts of a set of classes.

Tokens are placed after the first token (BOS) and before the rest. The tower is causal, so

- the rows [BOS, tokens], the *prefix*, do not depend on the rest of the prompt: one copy serves
  all prompts that begin with the same token, which for CLIP's own tokenizer is all of them. It is
  run once, and the rest of the prompts attends to its keys and values;
- rows after a prompt's end are never read. Prompts are cropped, in groups of similar length, so
  that one long name does not make all the others long;
- layers 1 .. J-1 have constant input: `ClassPrompts` keeps their output;
- only one row of a prompt is pooled, usually that of its end token (EOT): in the last layer it is
  the only query row.

Shapes: C prompts, c of them in a group, T rows of the group's longest after its first token,
U different first tokens (usually 1), K representation tokens, n layers with tokens,
P = 1 + K rows of a prefix (1 without tokens), D tower width, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from open_clip.transformer import Transformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .blocks import Block, KeysValues, blocks_of, causal_mask, compose, keys_values, run_block
from .class_prompts import ClassPrompts, PromptGroup, length_groups

FROZEN_CHUNK = 1024
"""Prompts at a time where nothing is differentiated: bounds memory at no cost in time."""


@dataclass(frozen=True)
class TextTower:
    """The parts of open_clip's text tower: attributes of CLIP itself, or of its `.text`."""

    token_embedding: nn.Embedding
    positional_embedding: Tensor
    transformer: Transformer
    ln_final: nn.Module
    text_projection: nn.Linear | Tensor | None
    attn_mask: Tensor | None
    pool_type: str
    eos_id: int
    token_layers: int = 1

    @classmethod
    def of(cls, model: nn.Module, token_layers: int = 1) -> TextTower:
        """Return a view of the text tower of an open_clip CLIP or CustomTextCLIP."""
        custom = hasattr(model, "text")
        # Any: two classes of open_clip without a common type.
        tower: Any = model.text if custom else model
        return cls(
            token_embedding=tower.token_embedding,
            positional_embedding=tower.positional_embedding,
            transformer=tower.transformer,
            ln_final=tower.ln_final,
            text_projection=tower.text_projection,
            attn_mask=tower.attn_mask,
            pool_type=tower.pool_type if custom else tower.text_pool_type,
            eos_id=tower.eos_id if custom else tower.text_eos_id,
            token_layers=token_layers,
        )

    @property
    def _lower(self) -> Sequence[Block]:
        return blocks_of(self.transformer)[: -self.token_layers]

    @property
    def _upper(self) -> Sequence[Block]:
        return blocks_of(self.transformer)[-self.token_layers :]

    def end_positions(self, tokens: Tensor) -> Tensor:
        """Find the pooled row of token ids [C, N] -> position [C], by the tower's own rule."""
        if self.pool_type == "argmax":
            return tokens.argmax(dim=-1)
        if self.pool_type == "eos":
            return (tokens == self.eos_id).int().argmax(dim=-1)
        return torch.full_like(tokens[:, 0], tokens.shape[1] - 1)

    def first_alike(self, tokens: Tensor) -> Tensor:
        """Return for each prompt [C, N] the first that this tower reads as the same, [C].

        Rows after the one that is read count for nothing; words with one embedding are the same.
        """
        ids, place = tokens.unique(return_inverse=True)
        words = self.token_embedding.weight[ids].unique(dim=0, return_inverse=True)[1][place]
        columns = torch.arange(tokens.shape[1], device=tokens.device)
        words = words.masked_fill(columns > self.end_positions(tokens)[:, None], -1)
        group = words.unique(dim=0, return_inverse=True)[1]
        order = torch.arange(len(tokens), device=tokens.device)
        return torch.full_like(order, len(order)).scatter_reduce(0, group, order, "amin")[group]

    def lower(self, tokens: Tensor) -> ClassPrompts:
        """Run layers 1 .. J-1 over tokens [C, N], N up to the context length.

        Runs `FROZEN_CHUNK` prompts at a time.

        Raises:
            ValueError: the tokens are not integers of such a shape.
        """
        context = self.positional_embedding.shape[0]
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= context or tokens.is_floating_point():
            raise ValueError(
                f"text is {tokens.dtype} of shape {tuple(tokens.shape)}; it has to be token ids "
                f"[prompts, up to {context}], as the model's tokenizer gives them."
            )
        end = self.end_positions(tokens)
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
        self, prompts: ClassPrompts, rep_tokens: Tensor, beta: float, chunk_size: int | None = None
    ) -> Tensor:
        """Run layers J .. L with tokens -> the pooled rows, [C, D].

        Args:
            prompts: from `lower`.
            rep_tokens: [n, K, D], one set per layer.
            beta: composes tokens as in the image tower.
            chunk_size: prompts at a time, computed again in the backward pass, which bounds the
                memory; None takes all at once (`FROZEN_CHUNK` where there are no gradients).
        """
        prefix = self._run_prefix(self._upper, prompts.bos.to(self._row_dtype), rep_tokens, beta)
        return self._read(prompts, *prefix, chunk_size)

    def without_tokens(self, prompts: ClassPrompts) -> Tensor:
        """Run layers J .. L as frozen CLIP does -> the pooled rows, [C, D]."""
        prefix = self._run_prefix(self._upper, prompts.bos.to(self._row_dtype))
        return self._read(prompts, *prefix, None)

    def project(self, row: Tensor) -> Tensor:
        """Project the pooled row [C, D] -> text feature [C, E]."""
        row = self.ln_final(row)
        if self.text_projection is None:
            return row
        if isinstance(self.text_projection, nn.Linear):
            return self.text_projection(row)
        return row @ self.text_projection

    @property
    def _row_dtype(self) -> torch.dtype:
        """The weights' type; under autocast, which may keep them in half, the embeddings'."""
        if torch.is_autocast_enabled(self.positional_embedding.device.type):
            return self.positional_embedding.dtype
        return self.transformer.get_cast_dtype()

    def _embed(self, ids: Tensor, start: int) -> Tensor:
        """Embed token ids [c, T] at positions from `start` on -> rows [c, T, D]."""
        dtype = self._row_dtype
        positions = self.positional_embedding[start : start + ids.shape[1]]
        return self.token_embedding(ids).to(dtype) + positions.to(dtype)

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
