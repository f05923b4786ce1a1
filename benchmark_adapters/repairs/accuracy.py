"""Top-k accuracy: an error from numpy 2.4 on, after the whole evaluation.

clip_benchmark 1.6.2 calls `float` on an array of shape [1], which numpy deprecated in 1.25 and
refuses since 2.4: every evaluation with one label per image ends in "TypeError: only 0-dimensional
arrays can be converted to Python scalars", before the results are written. To see it:
`clip_benchmark.metrics.zeroshot_classification.accuracy(torch.eye(2), torch.arange(2))`.
`metrics.linear_probe` imports the function by name, so it is replaced in both modules.

Shapes: N images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def accuracy(output: Tensor, target: Tensor, topk: Sequence[int] = (1,)) -> list[float]:
    """Return, for each k, the share of logits [N, C] whose k best contain the target [N]."""
    classes, target = output.shape[1], target.view(-1, 1).long()
    known = ((target >= 0) & (target < classes))[:, 0]  # others, of linear probes, are never hit
    own = output.gather(1, target.clamp(0, classes - 1))
    before = torch.arange(classes, device=output.device) < target
    rank = ((output > own) | ((output == own) & before)).sum(dim=1)  # of equals, the first is best
    return [((rank < k) & known).sum().item() / len(target) for k in topk]


def metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return clip_benchmark's metrics of logits [N, C] and labels [N], in 0..1.

    acc1, acc5 (NaN with fewer than five classes), and mean_per_class_recall over the classes that
    have images.
    """
    shares = accuracy(logits, labels, topk=(1, 5) if logits.shape[1] >= 5 else (1,))
    right = logits.argmax(dim=1) == labels
    recalls = [right[labels == label].double().mean() for label in labels.unique()]
    return {
        "acc1": shares[0],
        "acc5": shares[1] if len(shares) > 1 else math.nan,
        "mean_per_class_recall": torch.stack(recalls).mean().item(),
    }
