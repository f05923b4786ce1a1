"""The training loop: AdamW, a learning rate per epoch, resumable, the last model is kept."""

from __future__ import annotations

import io
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import TrainConfig
from .files import write_atomically
from .images import ImageSet, epoch_batches, loader
from .model import MMRLCLIP
from .precision import autocast, gradient_scaler
from .progress import Progress
from .task import MMRLTask

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"
_READ_EVERY = 10  # steps between two looks at the loss on a GPU: reading it waits for the device


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """Of one epoch, 0-based: one epoch of warm-up (none in a one-epoch run), then cosine.

    Source: the released code's scheduler, whose cosine begins again at epoch 1.
    """
    if config.epochs > 1:
        if epoch == 0:
            return config.warmup_lr
        epoch -= 1
    return config.lr * (1 + math.cos(math.pi * epoch / config.epochs)) / 2


@dataclass(frozen=True)
class TrainSummary:
    """What a finished run took."""

    seconds: float
    images: int
    steps: int
    skipped_steps: int
    final_loss: float

    @property
    def ms_per_image(self) -> float:
        return 1000 * self.seconds / max(self.images, 1)


class Trainer:
    """Trains a model's learner on a set of images, with checkpoints after every epoch.

    Args:
        model: on its device; its base is frozen already.
        tokens: prompts of the classes, [C, context length].
        images: the training images, seeded.
        config: the run's settings.
        folder: where `checkpoint.pt` and `log.jsonl` go; None keeps nothing.
        workers: processes that decode images.
        quiet: no progress bar.
    """

    def __init__(
        self,
        model: MMRLCLIP,
        tokens: Tensor,
        images: ImageSet,
        config: TrainConfig,
        *,
        folder: Path | None = None,
        workers: int = 0,
        quiet: bool = False,
    ) -> None:
        if not len(images):
            raise ValueError("there are no training images.")
        self.task = MMRLTask(model, tokens, config.text_chunk_size)
        self.model, self.images, self.config = model, images, config
        self.folder, self.workers, self.quiet = folder, workers, quiet
        self.device = model.visual.proj.device
        self.optimizer = torch.optim.AdamW(
            model.learner.parameters(),
            lr=config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=self.device.type == "cuda",
        )
        self.scaler = gradient_scaler(config.precision, self.device)
        self.state: dict[str, Any] = {
            "epoch": 0, "seconds": 0.0, "images": 0, "steps": 0, "skipped_steps": 0, "loss": 0.0,
        }  # fmt: skip

    def fit(self) -> TrainSummary:
        """Train from the beginning or from the folder's checkpoint to the end."""
        self._resume()
        total = self.config.epochs * len(epoch_batches(len(self.images), self._batch, 0, 0))
        self.model.train()
        with Progress("training", total, quiet=self.quiet) as progress:
            progress.advance(self.state["steps"])
            for epoch in range(self.state["epoch"], self.config.epochs):
                self._epoch(epoch, progress)
        self.model.eval()
        keys = ("seconds", "images", "steps", "skipped_steps")
        return TrainSummary(**{k: self.state[k] for k in keys}, final_loss=self.state["loss"])

    @property
    def _batch(self) -> int:
        return self.config.batch_size

    def _epoch(self, epoch: int, progress: Progress) -> None:
        rate = learning_rate(self.config, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.images.epoch = epoch
        batches = epoch_batches(len(self.images), self._batch, self.config.seed, epoch)
        start, losses, waiting = time.perf_counter(), [], []
        every = _READ_EVERY if self.device.type == "cuda" else 1
        for step, (images, labels) in enumerate(loader(self.images, batches, self.workers), 1):
            waiting.append(self._step(images, labels))
            if step % every == 0 or step == len(batches):
                losses += torch.stack(waiting).tolist()
                progress.advance(len(waiting), images=len(waiting) * len(images), loss=losses[-1])
                waiting.clear()
        self._end_of_epoch(epoch, rate, losses, batches, time.perf_counter() - start)

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One step; the loss stays on the device, [] float32 or better."""
        images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        with autocast(self.config.precision, self.device):
            loss = self.task(images, labels)["loss"]
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        before = self.scaler.get_scale()
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < before:
            self.state["skipped_steps"] += 1
        return loss.detach()

    def _end_of_epoch(self, epoch, rate, losses, batches, seconds) -> None:
        mean = sum(losses) / len(losses)
        count = sum(map(len, batches))
        self.state["epoch"] = epoch + 1
        self.state["loss"] = mean
        self.state["seconds"] += seconds
        self.state["images"] += count
        self.state["steps"] += len(batches)
        if not math.isfinite(mean):
            raise ValueError(
                f"the loss became {mean} in epoch {epoch}: lower the learning rate "
                f"({self.config.lr}) or use precision fp32, in another folder; this one keeps the "
                "last good epoch."
            )
        if self.folder is None:
            return
        row = {
            "epoch": epoch,
            "step": self.state["steps"],
            "loss": mean,
            "lr": rate,
            "seconds": round(self.state["seconds"], 3),
            "images_per_second": round(count / seconds, 1),
            "skipped_steps": self.state["skipped_steps"],
        }
        with open(self.folder / LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        self._save()

    def _save(self) -> None:
        buffer = io.BytesIO()
        content = {
            "learner": self.model.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "state": self.state,
        }
        torch.save(content, buffer)
        write_atomically(self.folder / CHECKPOINT, buffer.getvalue())

    def _load(self, path: Path) -> None:
        try:
            content = torch.load(path, map_location=self.device, weights_only=True)
            self.model.learner.load_state_dict(content["learner"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.scaler.load_state_dict(content["scaler"])
            self.state = content["state"]
        except Exception as error:  # what a damaged file raises depends on where it is damaged
            raise ValueError(
                f"the checkpoint {path} cannot be read ({type(error).__name__}): delete it to "
                "begin this run anew."
            ) from error

    def _resume(self) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path, log = self.folder / CHECKPOINT, self.folder / LOG
        if path.is_file():
            self._load(path)
        # Rows of epochs that were not checkpointed will be written again.
        rows = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        kept = rows[: self.state["epoch"]]
        write_atomically(log, "".join(row + "\n" for row in kept).encode())
