"""AdamW over the learner, its learning rate per epoch, and how many steps it took."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..config import TrainConfig


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """Return the learning rate of an epoch (0-based): one epoch of warm-up, then cosine.

    Source: the released code's scheduler. Its cosine over all epochs starts after the warm-up, so
    that the last epoch's rate is above 0. A run of one epoch has no warm-up.
    """
    if config.epochs > 1:
        if epoch == 0:
            return config.warmup_lr
        epoch -= 1
    return config.lr * (1 + math.cos(math.pi * epoch / config.epochs)) / 2


def adamw(learner: nn.Module, config: TrainConfig, on_gpu: bool) -> torch.optim.AdamW:
    """Build the optimizer; on a GPU, one fused kernel that never waits and can be recorded."""
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
    """Set the learning rate of the next steps, recorded ones included."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def steps_taken(optimizer: torch.optim.Optimizer) -> int:
    """Count the steps, without those that a gradient scaler skipped; waits for the device."""
    return max((int(state["step"]) for state in optimizer.state.values()), default=0)
