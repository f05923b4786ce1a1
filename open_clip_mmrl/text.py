"""The text tower with representation tokens, and the prompts of a set of classes.

Tokens stand behind the first token (BOS) and in front of the rest. The tower is causal, so

- what stands behind the last prompt's end is never read and is cropped;
- the rows [BOS, tokens] see nothing of the prompt: one copy serves all prompts that begin with
  the same token, which for CLIP's own tokenizer is all of them;
- layers 1 .. J-1 have constant input, so `ClassPrompts` keeps their output;
- in the last layer only the row that is read (EOT) asks.

Shapes: C prompts, T tokens of the longest one, K representation tokens, n layers with tokens,
D tower width, E embedding width, U different first tokens (1 as a rule).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .blocks import KeysValues, keys_values, run_block, why_not_supported

POOL_TYPES = ("argmax", "eos", "last")


@dataclass(frozen=True)
class ClassPrompts:
    """A set of prompts behind the frozen layers 1 .. J-1: computed once, passed as a value."""

    hidden: Tensor
    """Rows in front of layer J, [C, T, D]."""
    end: Tensor
    """Position of the row that is read (EOT), [C]."""
    first: Tensor
    """One prompt for every different first token, [U]: its index among the C."""
    group: Tensor
    """Which of the U first tokens a prompt begins with, [C]."""

    def __len__(self) -> int:
        return self.hidden.shape[0]


@dataclass(frozen=True)
class TextTower:
    """The parts of open_clip's text tower, wherever they lie: on CLIP itself or in its `.text`."""

    token_embedding: nn.Embedding
    positional_embedding: Tensor
    transformer: nn.Module
    ln_final: nn.Module
    text_projection: Any
    attn_mask: Tensor | None
    pool_type: str
    eos_id: int
    token_layers: int = 1

    @classmethod
    def of(cls, model: nn.Module, token_layers: int = 1) -> TextTower:
        """View of the text tower of an open_clip CLIP or CustomTextCLIP."""
        custom = hasattr(model, "text")
        tower = model.text if custom else model
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
    def _blocks(self) -> nn.ModuleList:
        return self.transformer.resblocks

    def end_positions(self, tokens: Tensor) -> Tensor:
        """tokens [C, N] -> position of the row that is read, [C], by the tower's own rule."""
        if self.pool_type == "argmax":
            return tokens.argmax(dim=-1)
        if self.pool_type == "eos":
            return (tokens == self.eos_id).int().argmax(dim=-1)
        return torch.full_like(tokens[:, 0], tokens.shape[1] - 1)

    def lower(self, tokens: Tensor) -> ClassPrompts:
        """tokens [C, N], N up to the context length -> prompts behind layers 1 .. J-1."""
        context = self.positional_embedding.shape[0]
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= context or tokens.is_floating_point():
            raise ValueError(
                f"text is {tokens.dtype} of shape {tuple(tokens.shape)}; it has to be token ids "
                f"[prompts, up to {context}], as the model's tokenizer gives them."
            )
        end = self.end_positions(tokens)
        tokens = tokens[:, : int(end.max()) + 1] if len(tokens) else tokens
        dtype = self.transformer.get_cast_dtype()
        x = self.token_embedding(tokens).to(dtype)
        x = x + self.positional_embedding[: tokens.shape[1]].to(dtype)
        mask = _causal(x.shape[1], x.device)
        for block in self._blocks[: -self.token_layers]:
            x = run_block(block, x, mask=mask)
        ids, group = tokens[:, 0].unique(return_inverse=True)
        first = (group == torch.arange(len(ids), device=group.device)[:, None]).int().argmax(dim=1)
        return ClassPrompts(hidden=x, end=end, first=first, group=group)

    def with_tokens(self, prompts: ClassPrompts, tokens: Tensor, beta: float) -> Tensor:
        """Layers J .. L with tokens [n, K, D] -> the row that is read, [C, D].

        `beta` composes tokens as in the image tower.
        """
        count, rest = tokens.shape[1], prompts.hidden[:, 1:]
        bos, carried = prompts.hidden[prompts.first, :1], None
        prefix_mask = _causal(1 + count, rest.device)
        mask = _causal(1 + count + rest.shape[1], rest.device)[1 + count :]
        *upper, last = zip(self._blocks[-self.token_layers :], tokens.to(rest.dtype), strict=True)
        for block, fresh in upper:
            prefix = self._prefix(bos, fresh, carried, beta)
            rest = run_block(
                block, rest, shared=_per_prompt(keys_values(block, prefix), prompts), mask=mask
            )
            prefix = run_block(block, prefix, mask=prefix_mask)
            bos, carried = prefix[:, :1], prefix[:, 1:]
        block, fresh = last
        prefix = self._prefix(bos, fresh, carried, beta)
        shared = _per_prompt(keys_values(block, prefix), prompts)
        return self._read(block, prompts, rest, count, bos, shared)

    def without_tokens(self, prompts: ClassPrompts) -> Tensor:
        """The same layers as frozen CLIP runs them -> the row that is read, [C, D]."""
        x = prompts.hidden
        mask = _causal(x.shape[1], x.device)
        for block in self._blocks[-self.token_layers : -1]:
            x = run_block(block, x, mask=mask)
        bos = x[prompts.first, :1]
        shared = _per_prompt(keys_values(self._blocks[-1], bos), prompts)
        return self._read(self._blocks[-1], prompts, x[:, 1:], 0, bos, shared)

    def project(self, row: Tensor) -> Tensor:
        """Read row [C, D] -> text feature [C, E]."""
        row = self.ln_final(row)
        if self.text_projection is None:
            return row
        if isinstance(self.text_projection, nn.Linear):
            return self.text_projection(row)
        return row @ self.text_projection

    @staticmethod
    def _prefix(bos: Tensor, fresh: Tensor, carried: Tensor | None, beta: float) -> Tensor:
        """[BOS, tokens] in front of a layer, [U, 1 + K, D]."""
        fresh = fresh.expand(bos.shape[0], -1, -1)
        if carried is not None:
            fresh = beta * fresh + (1 - beta) * carried
        return torch.cat([bos, fresh], dim=1)

    @staticmethod
    def _read(
        block: nn.Module,
        prompts: ClassPrompts,
        rest: Tensor,
        count: int,
        bos: Tensor,
        shared: KeysValues,
    ) -> Tensor:
        """Last layer: only the row that is read asks, and it sees what stands up to itself.

        rest [C, T - 1, D] are the rows behind the shared prefix of 1 + `count` rows. A prompt
        may end at its first token (no end token in it): then BOS is read, as open_clip does.
        """
        end, at_bos = prompts.end, prompts.end == 0
        row = bos[prompts.group, 0]
        if rest.shape[1]:
            index = torch.arange(len(prompts), device=end.device)
            row = torch.where(at_bos[:, None], row, rest[index, (end - 1).clamp(min=0)])
        position = torch.where(at_bos, 0, end + count)
        keys = torch.arange(1 + count + rest.shape[1], device=end.device)
        mask = (keys <= position[:, None])[:, None, None]
        return run_block(block, rest, asking=row.unsqueeze(1), shared=shared, mask=mask)[:, 0]


def _causal(rows: int, device: torch.device) -> Tensor:
    return torch.ones(rows, rows, dtype=torch.bool, device=device).tril()


def _per_prompt(shared: KeysValues, prompts: ClassPrompts) -> KeysValues:
    """Keys and values of the U prefixes, one for every prompt; a single one is broadcast."""
    if shared.keys.shape[0] == 1:
        return shared
    return KeysValues(shared.keys[prompts.group], shared.values[prompts.group])


def why_no_tokens(model: nn.Module) -> str | None:
    """The reason this model's text tower cannot carry tokens, or None."""
    holder = getattr(model, "text", model)
    if not hasattr(holder, "token_embedding") or not hasattr(holder, "attn_mask"):
        return f"its text tower is a {type(holder).__name__}, not open_clip's TextTransformer"
    if getattr(holder, "cls_emb", None) is not None:
        return "its text tower reads an appended class token (CoCa)"
    tower = TextTower.of(model)
    if tower.attn_mask is None:
        return "its text tower is not causal"
    if tower.pool_type not in POOL_TYPES:
        return f"its text tower pools by {tower.pool_type!r}, not one of {POOL_TYPES}"
    return why_not_supported(tower.transformer.resblocks[0])
