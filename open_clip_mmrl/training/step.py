"""One training step: forward, loss, backward, gradient scaling, optimizer.

The trainer, `speed` and the tests all take their steps through `TrainingStep`.

Shapes: B images, H x W the model's input size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..config import TrainConfig
from ..models.precision import autocast, gradient_scaler
from ..utils.ranks import Ranks
from .optim import adamw

if TYPE_CHECKING:
    from ..models.features import FrozenImages
    from ..models.reference import ReferenceTask
    from ..models.task import MMRLTask

Step = Callable[[Tensor, Tensor], Tensor]
"""Images [B, 3, H, W] and labels [B] -> loss []; trains. Of several ranks each is given its share
of the images."""


class TrainingStep:
    """A `Step` over a task's learner.

    Args:
        task: its loss is minimized.
        config: precision and settings of the optimizer; the learning rate of a step is set from
            outside, by `set_learning_rate`.
        device: of the task; batches are moved there.
        ranks: the processes that share a batch, if there are several; those of the task.

    Attributes:
        optimizer: AdamW over the learner.
        scaler: scales gradients in fp16, without effect in other precisions.
    """

    def __init__(
        self,
        task: MMRLTask | ReferenceTask,
        config: TrainConfig,
        device: torch.device,
        ranks: Ranks | None = None,
    ) -> None:
        self.task, self.precision, self.device = task, config.precision, device
        self.ranks = ranks
        self.optimizer = adamw(task.model.learner, config, on_gpu=device.type == "cuda")
        self.scaler = gradient_scaler(config.precision, device)

    def __call__(self, images: Tensor | FrozenImages, labels: Tensor) -> Tensor:
        """Train on one batch; return the loss, [] in float32 or float64, still on the device."""
        loss = self._forward(images, labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.ranks is not None:
            self.ranks.sum_gradients(self.task.model.learner.parameters())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    @torch.no_grad()
    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch without training on it, [], on the device."""
        return self._forward(images, labels)

    def _forward(self, images: Tensor | FrozenImages, labels: Tensor) -> Tensor:
        if isinstance(images, Tensor):
            images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        with autocast(self.precision, self.device):
            return self.task(images, labels)["loss"]
