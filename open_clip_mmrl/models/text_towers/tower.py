"""The interface of all text towers, with representation tokens or without.

    lower(tokens)               the frozen layers below the tokens: once per set of prompts
    with_tokens(prompts, R)     the n upper layers with tokens
    without_tokens(prompts)     the same layers as the frozen tower runs them
    project(row)                the projection of the pooled row

A tower is a view: the modules and weights of the base stay as they are.

Shapes: C prompts, N token ids of a prompt, n layers with tokens, K tokens, D tower width,
E embedding width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor


class TextTower(ABC):
    """A text tower, divided where the tokens enter.

    Attributes:
        family: what kind of tower it is, in words.
        has_tokens: whether towers of this family take tokens.
    """

    family: ClassVar[str]
    has_tokens: ClassVar[bool] = True

    @property
    @abstractmethod
    def width(self) -> int:
        """D, width of the rows."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """Number of layers."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of different token ids."""

    @property
    @abstractmethod
    def quick_gelu(self) -> bool | None:
        """Whether it runs QuickGELU; None where the family has no choice."""

    @abstractmethod
    def lower(self, tokens: Tensor) -> Any:
        """Run the layers below the tokens.

        Args:
            tokens: token ids, [C, N].

        Returns:
            Prompts, of which `len` is C, for `with_tokens` and `without_tokens` of a tower with as
            many token layers; only they look inside.

        Raises:
            ValueError: the tokens are not integers of such a shape.
        """

    @abstractmethod
    def with_tokens(
        self, prompts: Any, rep_tokens: Tensor, beta: float, chunk_size: int | None = None
    ) -> Tensor:
        """Run the upper layers with tokens -> the pooled rows, [C, D].

        Args:
            prompts: from `lower`.
            rep_tokens: [n, K, D], one set per layer.
            beta: composes tokens as in the image tower.
            chunk_size: prompts at a time, computed again in the backward pass, which bounds the
                memory; None takes all at once where there are gradients.
        """

    @abstractmethod
    def without_tokens(self, prompts: Any) -> Tensor:
        """Run the upper layers as the frozen tower does -> the pooled rows, [C, D]."""

    @abstractmethod
    def project(self, row: Tensor) -> Tensor:
        """Project the pooled rows [C, D] -> text features [C, E]."""

    @abstractmethod
    def first_alike(self, tokens: Tensor) -> Tensor:
        """Return for each prompt [C, N] the first that the tower reads as the same, [C]."""


def check_tokens(tokens: Tensor, context: int, vocabulary: int) -> None:
    """Raise ValueError where these are not token ids [C, up to `context`] of a vocabulary."""
    if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= context or tokens.is_floating_point():
        raise ValueError(
            f"text is {tokens.dtype} of shape {tuple(tokens.shape)}; it has to be token ids "
            f"[prompts, up to {context}], as the model's tokenizer gives them."
        )
    if torch.compiler.is_compiling() or tokens.is_meta or not len(tokens):  # there are no values
        return
    if (last := int(tokens.max())) >= vocabulary or int(tokens.min()) < 0:
        raise ValueError(
            f"text has token ids up to {last}, but the model knows {vocabulary:,}: they come from "
            "another model's tokenizer; open_clip.get_tokenizer(name) has this one's."
        )


def first_equal(rows: Tensor) -> Tensor:
    """Return for each row [C, N] the first that equals it, [C]."""
    group = rows.unique(dim=0, return_inverse=True)[1]
    order = torch.arange(len(rows), device=rows.device)
    return torch.full_like(order, len(order)).scatter_reduce(0, group, order, "amin")[group]
