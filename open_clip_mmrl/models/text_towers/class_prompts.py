"""Prompts in groups of similar length, and which prompts are worth running together.

Shapes: C prompts, N rows of a full one, c prompts in a group, T rows of the group's longest after
its first token, U different first tokens (usually 1), D tower width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

GROUP_COST = {"cpu": 64, "cuda": 1024}
"""Cost of one more group, in rows that could be computed instead: every group has its own calls
and smaller products. Measured on two CPU cores (ViT-B/16: 32 to 64 is best for 100 and for 250
classes); for CUDA estimated from the time of a launch."""


@dataclass(frozen=True)
class PromptGroup:
    """Prompts of similar length, after some layers."""

    rest: Tensor
    """Rows after the first token, cropped, [c, T, D]."""
    end: Tensor
    """Position of the pooled row (EOT), counted with the first token, [c]."""
    begin: Tensor
    """Which of the U first tokens a prompt begins with, [c]."""

    def split(self, size: int | None) -> list[PromptGroup]:
        """Split into groups of at most `size` prompts; None keeps one."""
        size = size or max(1, len(self.end))
        fields = (self.rest, self.end, self.begin)
        return [PromptGroup(*part) for part in zip(*(f.split(size) for f in fields), strict=True)]


@dataclass(frozen=True)
class ClassPrompts:
    """A set of prompts after the frozen layers 1 .. J-1: computed once, passed as a value."""

    groups: tuple[PromptGroup, ...]
    bos: Tensor
    """The U first tokens' rows, [U, 1, D]."""
    inverse_order: Tensor
    """Position of each prompt in the concatenated groups, [C]."""

    def __len__(self) -> int:
        return len(self.inverse_order)

    def ungrouped(self) -> FullPrompts:
        """Return the same prompts in their order, zeros after the end of shorter groups."""
        longest = max((group.rest.shape[1] for group in self.groups), default=0)
        rows = [self.bos.new_zeros(0, 1 + longest, self.bos.shape[-1])]
        for group in self.groups:
            whole = torch.cat([self.bos[group.begin], group.rest], dim=1)  # [c, 1 + T, D]
            rows.append(F.pad(whole, (0, 0, 0, longest - group.rest.shape[1])))
        end = torch.cat([self.inverse_order[:0], *(group.end for group in self.groups)])
        return FullPrompts(torch.cat(rows)[self.inverse_order], end[self.inverse_order])


@dataclass(frozen=True)
class FullPrompts:
    """The same without groups: every prompt with all of its rows."""

    rows: Tensor
    """[C, N, D]."""
    end: Tensor
    """Position of the pooled row, [C]."""

    def __len__(self) -> int:
        return len(self.end)

    def split(self, size: int) -> list[FullPrompts]:
        """Split into parts of at most `size` prompts."""
        parts = zip(self.rows.split(size), self.end.split(size), strict=True)
        return [FullPrompts(*part) for part in parts]


def length_groups(end: Tensor, group_cost: int | None = None) -> list[Tensor]:
    """Group prompts by length so that the total cost is least.

    A group of c prompts whose longest ends at position e costs c * e + `group_cost` rows.
    The best cut is found exactly, by dynamic programming over the different lengths.

    Args:
        end: positions of the prompts' ends, [C].
        group_cost: in rows; None takes the device's of `GROUP_COST`.

    Returns:
        Indices of each group's prompts, [c]; the group of the shortest prompts first.
    """
    if group_cost is None:
        group_cost = GROUP_COST.get(end.device.type, GROUP_COST["cuda"])
    lengths, counts = end.cpu().unique(return_counts=True)
    lengths, counts = lengths.tolist(), counts.tolist()
    best: list[tuple[int, int]] = [(0, 0)]  # cost of the first i lengths, start of their last group
    for i in range(1, len(lengths) + 1):
        options = []
        for start in range(i):
            rows = sum(counts[start:i]) * lengths[i - 1]
            options.append((best[start][0] + rows + group_cost, start))
        best.append(min(options))
    groups, i = [], len(lengths)
    while i:
        start = best[i][1]
        within = (end >= lengths[start]) & (end <= lengths[i - 1])
        groups.append(torch.nonzero(within)[:, 0])
        i = start
    return groups[::-1]
