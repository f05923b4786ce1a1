"""The training loop: batches, a learning rate per epoch, log, checkpoints, resuming."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import TrainConfig
from ..data.loading.images import ImageSet, epoch_batches, loader
from ..errors import DivergedError
from ..models.mmrl_clip import MMRLCLIP
from ..models.precision import check_precision, in_half, own_modules
from ..models.prompt_tokens import PromptTokens
from ..models.task import FrozenClasses, MMRLTask
from ..utils.oom import oom_hint
from ..utils.progress import Progress
from ..utils.ranks import Ranks
from .checkpoint import (
    CHECKPOINT,
    all_finite,
    packed,
    read_checkpoint,
    unpacked,
    unreadable,
    write_checkpoint,
)
from .cuda_graph import GraphedStep, check_graph
from .optim import learning_rate, set_learning_rate, steps_taken
from .record import LOG, TrainState, TrainSummary, add_row, keep_rows
from .step import Step, TrainingStep

_READ_EVERY = 10  # steps between two reads of the loss on a GPU: reading it waits for the device


class Trainer:
    """Train a model's learner on a set of images, with a checkpoint after every epoch.

    Args:
        model: on its device; its base is frozen already.
        tokens: prompts of the classes, [C, context length], or their `FrozenClasses`.
        images: the training images, seeded.
        config: the run's settings.
        folder: where `checkpoint.pt` and `log.jsonl` go; None keeps nothing.
        workers: processes that decode images.
        quiet: no progress bar.
        cuda_graph: record the step once and replay it, as `GraphedStep` does; CUDA only.
        run_digest: tells this run from others; a checkpoint with another one is refused.
        ranks: the processes that train it together, if there are several, each with a trainer of
            the same images and classes. The first one's parameters are trained; only it has a
            folder.

    Raises:
        ValueError: no images.
        UsageError: the device cannot compute in this precision, or not record steps.
    """

    def __init__(
        self,
        model: MMRLCLIP,
        tokens: Tensor | PromptTokens | FrozenClasses,
        images: ImageSet,
        config: TrainConfig,
        *,
        folder: Path | None = None,
        workers: int = 0,
        quiet: bool = False,
        cuda_graph: bool = False,
        run_digest: str | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        if not len(images):
            raise ValueError("there are no training images.")
        device = model.device
        check_precision(config.precision, device)
        if cuda_graph:
            check_graph(config.precision, device)
        self.model, self.images, self.config = model, images, config
        self.folder, self.workers, self.quiet = folder, workers, quiet
        self.run_digest, self.ranks = run_digest, ranks
        self.task = MMRLTask(model, tokens, config.text_chunk_size, ranks, config.text_cache)
        self.step = TrainingStep(self.task, config, device, ranks)
        self.run_step: Step = GraphedStep.of(self.step) if cuda_graph else self.step
        self.state = TrainState()

    def fit(self) -> TrainSummary:
        """Train from the beginning or from the folder's checkpoint to the end.

        Raises:
            ValueError: a checkpoint or an image that cannot be read, a checkpoint of another run,
                training that diverged, or too little GPU memory; the message says what helps.
        """
        self._resume()
        total = self.config.steps(len(self.images))
        with (
            oom_hint(*self._memory_help()),
            self._in_half(),
            Progress("training", total, quiet=self.quiet, estimate=True) as progress,
        ):
            progress.advance(self.state.steps)
            for epoch in range(self.state.epoch, self.config.epochs):
                self._epoch(epoch, progress)
                done = epoch + 1 == self.config.epochs
                progress.mark(f"epoch {epoch + 1}/{self.config.epochs}", last=done)
        self.model.learner.eval()  # the base's modules belong to its other models as well
        return TrainSummary(
            seconds=self.state.seconds,
            images=self.state.images,
            steps=self.state.steps,
            skipped_steps=self.state.skipped_steps,
            final_loss=self.state.loss,
            notes=tuple(self.run_step.notes) if isinstance(self.run_step, GraphedStep) else (),
        )

    @contextmanager
    def _in_half(self) -> Iterator[None]:
        """Run the task on frozen weights in half, in training mode, unseen by others on them."""
        self.task.model = own_modules(in_half(self.model, self.config.precision))
        self.task.train()
        try:
            yield
        finally:
            self.task.model = self.model

    @property
    def _batch(self) -> int:
        return self.config.batch_size

    def _epoch(self, epoch: int, progress: Progress) -> None:
        rate = learning_rate(self.config, epoch)
        set_learning_rate(self.step.optimizer, rate)
        order = epoch_batches(len(self.images), self._batch, self.config.seed, epoch)
        start, losses, waiting = time.perf_counter(), [], []
        every = _READ_EVERY if self.step.device.type == "cuda" else 1
        for step, (images, labels) in enumerate(self._batches(order, epoch), 1):
            waiting.append(self.run_step(images, labels))
            if step % every == 0 or step == len(order):
                losses += torch.stack(waiting).tolist()
                progress.advance(len(waiting), images=len(waiting) * len(labels), loss=losses[-1])
                waiting.clear()
        seconds = time.perf_counter() - start
        # The loss of a step tells of the steps before it; this one tells of the last.
        self._check_finite(epoch, (*losses, self.step.loss(images, labels).item()))
        self._end_of_epoch(epoch, rate, losses, order, seconds)

    def _batches(self, order: list[list[int]], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return what is given to every step."""
        if self.ranks is None:
            return loader(self.images, order, self.workers, epoch)
        own = [batch[self.ranks.share(len(batch))] for batch in order]
        labels = (torch.tensor([self.images.examples[i].label for i in batch]) for batch in order)
        images = (images for images, _ in loader(self.images, own, self.workers, epoch))
        return zip(images, labels, strict=True)

    def _check_finite(self, epoch: int, losses: Sequence[float]) -> None:
        """Check an epoch before any of it is kept; skipped steps of fp16 leave all finite."""
        broken = next((loss for loss in losses if not math.isfinite(loss)), None)
        if broken is not None:
            what = f"the loss became {broken}"
        elif not all_finite(self._trained_tensors()):
            what = "parameters became infinite or NaN"
        else:
            return
        helps = f"lower the learning rate ({self.config.lr})"
        if self.config.precision != "fp32":
            helps += " or use precision fp32"
        if self.state.epoch and self.folder is not None:
            helps += f", in another folder; this one keeps the last good epoch, {epoch - 1}"
        raise DivergedError(
            f"training diverged: {what} in epoch {epoch} (of 0 to {self.config.epochs - 1}). "
            f"There is no adapter and no result: {helps}."
        )

    def _trained_tensors(self) -> Iterator[Tensor]:
        yield from self.model.learner.state_dict().values()
        for state in self.step.optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))

    def _memory_help(self) -> tuple[str, str]:
        """Return what is being done, and what helps where the GPU's memory does not suffice."""
        names = ("batch_size", "text_chunk_size", "precision")
        settings = ", ".join(f"{name} {getattr(self.config, name)}" for name in names)
        helps = (
            "lower batch_size, set text_chunk_size (classes at a time, such as 100) or use "
            "precision amp_bf16"
        )
        if self.folder is not None:
            helps += ", in another folder; this one keeps the last finished epoch"
        return f"training with {settings} and {len(self.task.tokens)} classes", helps

    def _end_of_epoch(
        self,
        epoch: int,
        rate: float,
        losses: list[float],
        order: list[list[int]],
        seconds: float,
    ) -> None:
        mean = sum(losses) / len(losses)
        count, steps = sum(map(len, order)), self.state.steps + len(order)
        self.state = TrainState(
            epoch=epoch + 1,
            seconds=self.state.seconds + seconds,
            images=self.state.images + count,
            steps=steps,
            skipped_steps=steps - steps_taken(self.step.optimizer),
            loss=mean,
        )
        if self.folder is None:
            return
        row = {
            "epoch": epoch,
            "step": self.state.steps,
            "loss": mean,
            "lr": rate,
            "seconds": round(self.state.seconds, 3),
            "images_per_second": round(count / seconds, 1),
            "skipped_steps": self.state.skipped_steps,
        }
        add_row(self.folder / LOG, row)
        write_checkpoint(self.folder / CHECKPOINT, self._content())

    def _content(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "learner": self.model.learner.state_dict(),
            "optimizer": self.step.optimizer.state_dict(),
            "scaler": self.step.scaler.state_dict(),
            "state": asdict(self.state),
            "run": self.run_digest,
        }

    def _load(self, path: Path) -> None:
        content = read_checkpoint(path, self.step.device)
        theirs = content.get("run")  # earlier versions wrote none
        if theirs is not None and self.run_digest not in (None, theirs):
            raise ValueError(
                f"the checkpoint {path} belongs to a run with other settings or images: delete it "
                "to start this run from its beginning, or give another folder."
            )
        try:
            self._restore(content)
        except Exception as error:  # of another version, or written by something else
            raise unreadable(path, type(error).__name__) from error
        if not all_finite(self._trained_tensors()):
            raise ValueError(
                f"the checkpoint {path} holds parameters that are infinite or NaN: its training "
                f"diverged. Delete it and lower the learning rate ({self.config.lr})."
            )

    def _restore(self, content: Mapping[str, Any]) -> None:
        optimizer = self.step.optimizer
        self.model.learner.load_state_dict(content["learner"])
        # The state alone: a GPU's checkpoint resumes on a CPU, whose optimizer differs.
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({**content["optimizer"], "param_groups": groups})
        self.step.scaler.load_state_dict(content["scaler"])
        self.state = TrainState(**content["state"])

    def _resume(self) -> None:
        """Begin after the folder's checkpoint; on other ranks, where the first one begins."""
        if self.folder is not None:
            self._read(self.folder)
        if self.ranks is not None:
            begin = self.ranks.from_first(packed(self._content()))
            self._restore(unpacked(begin, self.step.device))

    def _read(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).is_file():
            self._load(folder / CHECKPOINT)
        keep_rows(folder / LOG, self.state.epoch)
