"""The parts of open_clip's own text tower, and what all kinds of it do alike.

Shapes: C prompts, N token ids of a prompt, D tower width, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from open_clip.transformer import Transformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..blocks import Block, blocks_of, runs_quick_gelu
from ..whole_blocks import are_plain, run_whole, warn_bypassed
from .class_prompts import FullPrompts
from .tower import TextTower, first_equal

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class TextRows(TextTower):
    """The parts of open_clip's text tower: attributes of CLIP itself, or of its `.text`."""

    token_embedding: nn.Embedding
    positional_embedding: Tensor
    transformer: Transformer
    ln_final: nn.Module
    text_projection: nn.Linear | Tensor | None
    attn_mask: Tensor | None
    pool_type: str
    eos_id: int
    """-1 where there is none: open_clip's unreleased main has no default."""
    token_layers: int = 1

    @classmethod
    def of(cls, model: nn.Module, token_layers: int = 1) -> Self:
        """Return a view of the text tower of an open_clip CLIP or CustomTextCLIP."""
        custom = hasattr(model, "text")
        # Any: two classes of open_clip without a common type.
        tower: Any = model.text if custom else model
        eos_id = getattr(tower, "eos_id" if custom else "text_eos_id", None)
        if custom:
            warn_bypassed("text", tower)
        warn_bypassed("transformer", tower.transformer)
        return cls(
            token_embedding=tower.token_embedding,
            positional_embedding=tower.positional_embedding,
            transformer=tower.transformer,
            ln_final=tower.ln_final,
            text_projection=tower.text_projection,
            attn_mask=tower.attn_mask,
            pool_type=tower.pool_type if custom else tower.text_pool_type,
            eos_id=-1 if eos_id is None else eos_id,
            token_layers=token_layers,
        )

    @property
    def width(self) -> int:
        """D."""
        return self.token_embedding.embedding_dim

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(blocks_of(self.transformer))

    @property
    def vocab_size(self) -> int:
        """The number of different token ids."""
        return self.token_embedding.num_embeddings

    @property
    def quick_gelu(self) -> bool:
        """Whether its blocks run QuickGELU."""
        return runs_quick_gelu(self.transformer)

    @property
    def _lower(self) -> Sequence[Block]:
        return blocks_of(self.transformer)[: -self.token_layers]

    @property
    def _upper(self) -> Sequence[Block]:
        return blocks_of(self.transformer)[-self.token_layers :]

    @property
    def _runs_whole(self) -> bool:
        """Whether every row has to go through every layer.

        Where tokens have no values (a graph is traced; meta device) or a block is changed.
        """
        is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # exporting included
        return (
            is_traced
            or self.positional_embedding.is_meta
            or not are_plain(blocks_of(self.transformer))
        )

    def _lower_whole(self, tokens: Tensor, end: Tensor) -> FullPrompts:
        """Run layers 1 .. J-1 over every row of token ids [C, N], pooled at positions [C]."""
        causal = self.attn_mask is not None
        return FullPrompts(run_whole(self._lower, self._embed(tokens), causal=causal), end)

    def _read_whole(
        self,
        prompts: FullPrompts,
        rep_tokens: Tensor | None = None,
        beta: float = 1.0,
        chunk_size: int | None = None,
    ) -> Tensor:
        """Run layers J .. L with every row of every prompt -> the pooled rows, [C, D]."""
        causal, recompute = self.attn_mask is not None, self.transformer.grad_checkpointing

        def run(part: FullPrompts) -> Tensor:
            x = part.rows.to(self._row_dtype)  # may be prepared in float32
            x = run_whole(self._upper, x, rep_tokens, beta, causal=causal, recompute=recompute)
            # Tokens are after the first row, so the pooled row moves unless it is the first.
            moved = part.end + (x.shape[1] - part.rows.shape[1])
            end = torch.where(part.end > 0, moved, part.end)
            return x[torch.arange(x.shape[0], device=x.device), end]  # `len` would fix the number

        if chunk_size is None or not torch.is_grad_enabled():
            return run(prompts)
        parts = prompts.split(chunk_size)
        return torch.cat(
            [checkpoint(run, p, use_reentrant=False, preserve_rng_state=False) for p in parts]
        )

    def end_positions(self, tokens: Tensor) -> Tensor:
        """Find the pooled row of token ids [C, N] -> position [C], by the tower's own rule."""
        if self.pool_type == "argmax":
            return tokens.argmax(dim=-1)
        if self.pool_type == "eos":
            return (tokens == self.eos_id).int().argmax(dim=-1)
        if self.pool_type == "first":
            return torch.zeros_like(tokens[:, 0])
        return torch.full_like(tokens[:, 0], tokens.shape[1] - 1)

    def first_alike(self, tokens: Tensor) -> Tensor:
        """Return for each prompt [C, N] the first that this tower reads as the same, [C].

        Words with one embedding are the same.
        """
        ids, place = tokens.unique(return_inverse=True)
        words = self.token_embedding.weight[ids].unique(dim=0, return_inverse=True)[1][place]
        return first_equal(self._read_words(words, self.end_positions(tokens)))

    def _read_words(self, words: Tensor, end: Tensor) -> Tensor:
        """Return of words [C, N], and the pooled row's position [C], what decides on features."""
        return torch.cat([words, end[:, None]], dim=1)

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
        device = self.positional_embedding.device.type
        if device != "meta" and torch.is_autocast_enabled(device):
            return self.positional_embedding.dtype
        return self.transformer.get_cast_dtype()

    def _embed(self, ids: Tensor, start: int = 0) -> Tensor:
        """Embed token ids [C, N] at positions from `start` on -> rows [C, N, D]."""
        dtype = self._row_dtype
        positions = self.positional_embedding[start : start + ids.shape[1]]
        return self.token_embedding(ids).to(dtype) + positions.to(dtype)
