"""The steps that `speed` compares: ours, the paper-literal reference's, plain open_clip's."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ...config import TrainConfig
from ...evaluation.predict import build_classifier, class_scores
from ...hub.load import RANDOM, build_for_training
from ...models.mmrl_clip import MMRLCLIP
from ...models.precision import autocast, check_precision, half_type, half_weights
from ...models.reference import ReferenceTask
from ...models.task import MMRLTask
from ...training.cuda_graph import WARM_UP, GraphedStep, check_graph
from ...training.step import TrainingStep
from ...utils.devices import pick_device

OURS, REFERENCE, OPEN_CLIP = "ours", "reference", "open_clip"


@dataclass(frozen=True, kw_only=True)
class SpeedSettings:
    """What is measured."""

    model: str = "ViT-B-16"
    method: str = "mmrl"
    classes: int = 100
    batch_size: int = 4
    eval_batch_size: int = 32
    precision: str = "fp32"
    device: str | None = None
    repeats: int = 5
    reference: bool = True
    """Without it, only ours and open_clip are run, and the reference's operations counted."""
    text_chunk_size: int | None = None
    memory: bool = True
    cuda_graph: bool = False
    """Record our training step and replay it."""

    @property
    def literal_precision(self) -> str:
        """What the reference and open_clip run in: neither converts tokens, so not half alone."""
        return {"bf16": "amp_bf16", "fp16": "amp_fp16"}.get(self.precision, self.precision)


def check_device(settings: SpeedSettings) -> torch.device:
    """The device; a UsageError where it is not there or cannot do what is asked."""
    device = pick_device(settings.device)
    check_precision(settings.precision, device)
    if settings.cuda_graph:
        check_graph(settings.precision, device)
    return device


def class_names(count: int) -> list[str]:
    """ImageNet's names, whose lengths are those of real classes, over again where they end."""
    names = open_clip.IMAGENET_CLASSNAMES
    return [names[i % len(names)] for i in range(count)]


class Bench:
    """A model on random weights, and the steps that are compared.

    In a half precision ours runs on weights that are kept in half, the others on float32 of
    their own, which autocast converts: the one as it trains, the others as they are written.
    """

    def __init__(self, settings: SpeedSettings) -> None:
        self.settings = settings
        self.notes: list[str] = []
        """What the CUDA graph had to say."""
        self.held = ExitStack()
        """Contexts that stay open as long as this bench."""
        self.device = check_device(settings)
        torch.manual_seed(0)
        loaded = build_for_training(
            settings.model, RANDOM, method=settings.method, device=self.device, seed=0
        )
        self.model: MMRLCLIP = loaded.model
        self.literal = self.model
        if half_type(settings.precision):
            self.literal = copy.deepcopy(self.model)
        names = class_names(settings.classes)
        self.tokens = loaded.class_tokens(names, "a photo of a {}.")
        self.tokens = self.tokens.to(self.device)

    def images(self, count: int) -> Tensor:
        height, width = self.model.visual.image_size
        return torch.randn(count, 3, height, width, device=self.device)

    def in_half(self) -> AbstractContextManager[None]:
        """Where steps of ours are run; they are built outside of it."""
        return half_weights(self.model, self.settings.precision)

    def train_step(
        self, which: str, classes: int | None = None, recorded: bool = False
    ) -> Callable[[], Tensor]:
        """A whole step as a call without arguments: forward, backward, optimizer -> loss.

        `recorded`: as a CUDA graph, behind its first `WARM_UP` calls.
        """
        settings, tokens = self.settings, self.tokens[:classes]
        if which == OURS:
            task: nn.Module = MMRLTask(self.model, tokens, settings.text_chunk_size)
            precision = settings.precision
        else:
            task, precision = ReferenceTask(self.literal, tokens), settings.literal_precision
        step = TrainingStep(task, TrainConfig(precision=precision), self.device)
        images = self.images(settings.batch_size)
        labels = torch.arange(settings.batch_size, device=self.device) % len(tokens)
        if recorded:
            step = GraphedStep(step, lambda: task.classes, self.device)
            step.notes = self.notes
        return partial(step, images, labels)

    def eval_step(self, which: str) -> Callable[[], None]:
        """Scoring one batch against text features that are there already."""
        settings, images = self.settings, self.images(self.settings.eval_batch_size)
        classifier = build_classifier(self.model, self.tokens[:2])
        reference = ReferenceTask(self.literal, self.tokens[:2]) if which == REFERENCE else None
        precision = settings.precision if which == OURS else settings.literal_precision

        @torch.no_grad()
        def step() -> None:
            with autocast(precision, self.device):
                if which == OURS:
                    class_scores(self.model, classifier, images, "fused")
                elif which == REFERENCE:
                    reference.encode_image(images)
                else:
                    self.literal.visual(images)

        return step

    def seconds(self, steps: dict[str, Callable[[], None]]) -> dict[str, float]:
        """Median seconds of every step, taken in turn, after one round of warming up.

        Behind as many more as it takes to have a CUDA graph recorded.
        """
        taken: dict[str, list[float]] = {name: [] for name in steps}
        repeats = self.settings.repeats
        with self.in_half():
            for _ in range(repeats + 1 + WARM_UP * self.settings.cuda_graph):
                for name, step in steps.items():
                    start = time.perf_counter()
                    step()
                    if self.device.type == "cuda":
                        torch.cuda.synchronize()
                    taken[name].append(time.perf_counter() - start)
        return {name: median(values[-repeats:]) for name, values in taken.items()}

    def operations(self, which: str) -> int:
        """Operations of one training step.

        Those of the reference grow by the same amount with every class, for all its prompts
        have full length: two small counts give them for any number.
        """
        if which == OURS or self.settings.classes <= 3:
            return count_operations(self.train_step(which))
        two, three = (count_operations(self.train_step(which, classes)) for classes in (2, 3))
        return two + (self.settings.classes - 2) * (three - two)


def count_operations(step: Callable[[], Any]) -> int:
    """Multiplications and additions, apart, of one call; no matter what they are computed in."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()
