"""The interface of all image towers with representation tokens.

    lower(images)            the frozen layers below the tokens, shared by the two branches below
    with_tokens(rows, R)     the n upper layers with tokens
    without_tokens(rows)     the same layers as the frozen tower runs them
    class_feature(own)       what the base calls its image feature
    representation_feature   what is read from the token rows

*Own rows* are those of the tower itself (class token, patches); the method adds *token rows*.

A tower is a view: the modules and weights of the base stay as they are.

Shapes: B images, N own rows, K representation tokens, n layers with tokens, D tower width,
E embedding width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..learner import Projection


class ImageFeatures(NamedTuple):
    """Features of one batch as they leave the projections, each [B, E], not normalized."""

    class_: Tensor
    representation: Tensor | None
    """None without image tokens."""
    row_norms: Tensor | None = None
    """As in `AdaptedRows`."""


class AdaptedRows(NamedTuple):
    """What `ImageTower.with_tokens` returns; the first two after the last layer."""

    own: Tensor
    """Own rows that the pooling reads, for `class_feature`."""
    tokens: Tensor
    """[B, K, D]."""
    norms: Tensor | None
    """Of every layer's output, [B, n, 1 + K]: the class token's norm, or the mean norm of the own
    rows of a tower that pools them, then the tokens' norms. None where they are not wanted."""


def norms_of(rows: Tensor) -> Tensor:
    """Return the Euclidean norms along the last dimension, in float32 or better."""
    is_half = rows.dtype in (torch.float16, torch.bfloat16)
    return torch.linalg.vector_norm(rows.float() if is_half else rows, dim=-1)


def adapted_rows(
    outputs: Sequence[tuple[Tensor, Tensor]], read: int | None, norms: bool
) -> AdaptedRows:
    """Return what `with_tokens` returns.

    Args:
        outputs: own rows [B, N, D] and token rows [B, K, D] after each layer, or after the last.
        read: how many of the own rows the class feature is read from, the first ones; None: all.
        norms: whether they are wanted.
    """
    found = None
    if norms:
        of_class = [norms_of(own[:, :read]).mean(dim=1, keepdim=True) for own, _ in outputs]
        of_tokens = [norms_of(tokens) for _, tokens in outputs]
        found = torch.cat([torch.stack(of_class, dim=1), torch.stack(of_tokens, dim=1)], dim=2)
    return AdaptedRows(*outputs[-1], found)


@dataclass(frozen=True)
class ImageTower(ABC):
    """An image tower, divided where the tokens enter.

    Attributes:
        visual: the base's own image tower.
        token_layers: n, as many as the text tower has from layer J on, counted from the top of
            this one.
    """

    visual: Any
    token_layers: int

    @classmethod
    @abstractmethod
    def matches(cls, visual: nn.Module) -> bool:
        """Return whether a tower is of this family, by its modules."""

    @staticmethod
    @abstractmethod
    def unsupported_reason(visual: Any) -> str | None:
        """Return why a tower of this family does not support tokens, or None.

        The reason is the end of a sentence that begins "... does not support representation
        tokens:".
        """

    @property
    @abstractmethod
    def family(self) -> str:
        """What kind of tower it is, in words."""

    @property
    @abstractmethod
    def width(self) -> int:
        """D, width of the rows."""

    @property
    @abstractmethod
    def embed_dim(self) -> int:
        """E, width of the features."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """Number of layers."""

    @property
    @abstractmethod
    def patch_size(self) -> int:
        """Pixels per patch, along the height."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Type of the weights."""

    @property
    @abstractmethod
    def quick_gelu(self) -> bool | None:
        """Whether it runs QuickGELU; None where the family has no choice."""

    @abstractmethod
    def lower(self, images: Tensor) -> Any:
        """Run the layers below the tokens.

        Args:
            images: [B, 3, H, W].

        Returns:
            Rows for `with_tokens` and `without_tokens` of a tower with as many token layers; only
            they look inside.
        """

    @abstractmethod
    def with_tokens(
        self, rows: Any, tokens: Tensor, beta: float, norms: bool = False
    ) -> AdaptedRows:
        """Run the upper layers with tokens.

        Args:
            rows: from `lower`.
            tokens: [n, K, D], one set per layer.
            beta: 1 replaces the tokens before every layer; below 1 they are
                beta * this layer's tokens + (1 - beta) * the previous layer's output tokens.
            norms: whether to return them. With beta = 1 all layers' tokens then are query rows.
        """

    @abstractmethod
    def without_tokens(self, rows: Any) -> Tensor:
        """Run the upper layers as the frozen tower does -> the own rows that the pooling reads."""

    @abstractmethod
    def class_feature(self, own: Tensor) -> Tensor:
        """Pool and project own rows, as the base does -> the class feature, [B, E]."""

    @abstractmethod
    def representation_feature(self, rows: Tensor, projection: Projection) -> Tensor:
        """Pool and project token rows [B, K, D] -> the representation feature, [B, E].

        Args:
            rows: from `with_tokens`.
            projection: the learner's.
        """
