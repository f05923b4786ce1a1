"""AdamW over the learner, its learning rate per epoch, and the steps it took."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..config import TrainConfig


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """Of one epoch, 0-based: one epoch of warm-up (none in a one-epoch run), then cosine.

    Source: the released code's scheduler, whose cosine begins again at epoch 1.
    """
    if config.epochs > 1:
        if epoch == 0:
            return config.warmup_lr
        epoch -= 1
    return config.lr * (1 + math.cos(math.pi * epoch / config.epochs)) / 2


def adamw(learner: nn.Module, config: TrainConfig, on_gpu: bool) -> torch.optim.AdamW:
    """The optimizer; on a GPU one kernel that waits for nothing and can be recorded."""
    device = next(learner.parameters()).device
    return torch.optim.AdamW(
        learner.parameters(),
        lr=torch.tensor(config.lr, device=device) if on_gpu else config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=on_gpu,
        capturable=on_gpu,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """For the steps to come, recorded ones too."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def steps_taken(optimizer: torch.optim.Optimizer) -> int:
    """Without those that a gradient scaler skipped; waits for the device."""
    return max((int(state["step"]) for state in optimizer.state.values()), default=0)
