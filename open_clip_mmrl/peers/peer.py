"""The interface of all peers, and the training loop that they share.

Shapes: B images, C classes, E embedding width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import CACHE_GB, TrainConfig
from ..data import ImageData
from ..data.loading.device_augment import training_images
from ..data.loading.images import epoch_batches, loader
from ..evaluation.predict import Scorer
from ..hub.load import LoadedModel
from ..models.precision import autocast, gradient_scaler
from ..training.optim import set_learning_rate
from ..utils.oom import oom_hint
from ..utils.progress import Progress


@dataclass(frozen=True, kw_only=True)
class PeerTask:
    """What a peer is trained with."""

    loaded: LoadedModel
    """Frozen; its learner is not used."""
    subset: ImageData
    """The images and classes that are trained on."""
    train: TrainConfig
    max_steps: float = math.inf
    """Of the training, besides its epochs."""
    cache_gb: float = CACHE_GB
    workers: int = 0
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class Peer(ABC):
    """A method after its training."""

    num_parameters: int
    """What was trained."""
    images_seen: int
    """Images that training took, repeated ones counted."""

    @abstractmethod
    def scorer(self, loaded: LoadedModel, data: ImageData) -> Scorer:
        """Return what scores images against a data set's classes, seen in training or not."""


Rate = Callable[[int, float], float]
"""Learning rate by the epoch, 0-based, and the share of all steps that are done."""


def cosine(first: float, last: float = 0.0) -> Rate:
    """Return a rate that falls from step to step along half a cosine."""
    return lambda _, done: last + (first - last) * (1 + math.cos(math.pi * done)) / 2


def minimize(
    task: PeerTask,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    rate: Rate,
) -> int:
    """Train for the epochs of `task.train`, at most `task.max_steps` steps.

    Args:
        task: images, settings, model.
        loss: of images [B, 3, H, W] and labels [B].
        optimizer: of what is trained.
        rate: the learning rate.

    Returns:
        The number of images that were seen.

    Raises:
        ValueError: training diverged.
    """
    train, model, seen, done = task.train, task.loaded.model, 0, 0
    images = training_images(model, task.subset.train, train, task.cache_gb)
    steps = int(min(train.steps(len(images)), task.max_steps))
    scaler, value = gradient_scaler(train.precision, model.device), torch.zeros(())
    what = f"training in batches of {train.batch_size}, precision {train.precision}"
    with (
        oom_hint(what, "lower batch_size or use precision amp_bf16"),
        Progress("training", steps, quiet=task.quiet, estimate=True) as progress,
    ):
        for epoch in range(train.epochs):
            order = epoch_batches(len(images), train.batch_size, train.seed, epoch)
            for pixels, labels in loader(images, order[: steps - done], task.workers, epoch):
                set_learning_rate(optimizer, rate(epoch, done / steps))
                with autocast(train.precision, model.device):
                    value = loss(pixels.to(model.device), labels.to(model.device))
                optimizer.zero_grad(set_to_none=True)
                scaler.scale(value).backward()
                scaler.step(optimizer)
                scaler.update()
                seen, done = seen + len(labels), done + 1
                progress.advance(1, images=len(labels))
    if not value.isfinite():
        raise ValueError(
            f"training diverged: the loss became {value.item()}. There is no result: use precision "
            "fp32, or leave this method out."
        )
    return seen
