"""Which prompts are worth running together: groups of similar length."""

from __future__ import annotations

import torch
from torch import Tensor

GROUP_COST = {"cpu": 64, "cuda": 1024}
"""What one more group costs, in rows that could be computed instead: every group has its own calls
and smaller products. Measured on two CPU cores (ViT-B/16: 32 to 64 is best for 100 and for 250
classes); for CUDA estimated from the time of a launch."""


def length_groups(end: Tensor, group_cost: int | None = None) -> list[Tensor]:
    """Indices of the prompts in groups, shortest first, that cost least in all.

    A group of c prompts whose longest ends at position e costs c * e rows and `group_cost`.
    The best cut is found exactly, by dynamic programming over the different lengths.

    Args:
        end: positions of the prompts' ends, [C].
        group_cost: in rows; None takes the device's of `GROUP_COST`.
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
