"""Token ids of several prompts per class, and the text features of the classes.

Shapes: C classes, P prompts of all of them, N token ids of a prompt, E embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from .ops import unit


@dataclass(frozen=True)
class PromptTokens:
    """The prompts of C classes.

    The text feature of a class is the mean of its prompts' features of unit length, scaled to unit
    length again: of frozen CLIP's (w_0) and at inference. Training adapts the first prompt of every
    class alone, so that a step costs what it costs with one.
    """

    tokens: Tensor
    """[P, N], class by class."""
    counts: tuple[int, ...]
    """Prompts of each class, at least one."""

    @classmethod
    def of(cls, tokens: Tensor | PromptTokens) -> PromptTokens:
        """Return the same, of one prompt per class [C, N] too."""
        return tokens if isinstance(tokens, PromptTokens) else cls(tokens, (1,) * len(tokens))

    def first(self) -> Tensor:
        """Return the first prompt of each class, [C, N]."""
        return self.tokens[[0, *accumulate(self.counts[:-1])]]

    def of_classes(self, features: Tensor) -> Tensor:
        """Return the classes' text features [C, E] of those of the prompts [P, E]."""
        if len(features) == len(self.counts):
            return unit(features)
        parts = unit(features).split(self.counts)
        return unit(torch.stack([part.mean(dim=0) for part in parts]))

    def first_alike(self, first: Tensor) -> Tensor:
        """Return the first class of the same prompts, [C], by the first equal prompt [P]."""
        if len(first) == len(self.counts):
            return first
        places: dict[tuple[int, ...], int] = {}
        keys = [tuple(sorted(part.tolist())) for part in first.split(self.counts)]
        alike = [places.setdefault(key, place) for place, key in enumerate(keys)]
        return torch.tensor(alike, device=first.device)
