"""Ours against the paper-literal reference and plain open_clip, in one run, on random weights.

Speeds are medians of interleaved repetitions, so that a machine that slows down slows all alike.
Peak memory is that of a child process each, above what the bare model takes. Operations are
counted by PyTorch while the step runs (multiplications and additions apart).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .building import RANDOM, build_for_training
from .errors import UsageError
from .evaluate import build_classifier, class_scores
from .memory import peak_bytes
from .model import MMRLCLIP
from .precision import autocast, gradient_scaler, pick_device
from .prompting import class_tokens
from .reference import ReferenceTask
from .task import MMRLTask

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


def class_names(count: int) -> list[str]:
    """ImageNet's names, whose lengths are those of real classes, over again where they end."""
    names = open_clip.IMAGENET_CLASSNAMES
    return [names[i % len(names)] for i in range(count)]


class Bench:
    """A model on random weights, and the steps that are compared."""

    def __init__(self, settings: SpeedSettings) -> None:
        self.settings = settings
        self.device = pick_device(settings.device)
        torch.manual_seed(0)
        built = build_for_training(
            settings.model, RANDOM, method=settings.method, device=self.device, seed=0
        )
        self.model: MMRLCLIP = built.model
        names = class_names(settings.classes)
        self.tokens = class_tokens(built.model, built.tokenizer, names, "a photo of a {}.")
        self.tokens = self.tokens.to(self.device)

    def images(self, count: int) -> Tensor:
        height, width = self.model.visual.image_size
        return torch.randn(count, 3, height, width, device=self.device)

    def train_step(self, which: str, classes: int | None = None) -> Callable[[], None]:
        """A whole step as a call without arguments: forward, backward, optimizer."""
        settings, tokens = self.settings, self.tokens[:classes]
        if which == OURS:
            task: nn.Module = MMRLTask(self.model, tokens, settings.text_chunk_size)
        else:
            task = ReferenceTask(self.model, tokens)
        parameters = list(self.model.learner.parameters())
        optimizer = torch.optim.AdamW(parameters, fused=self.device.type == "cuda")
        scaler = gradient_scaler(settings.precision, self.device)
        images = self.images(settings.batch_size)
        labels = torch.arange(settings.batch_size, device=self.device) % len(tokens)

        def step() -> None:
            with autocast(settings.precision, self.device):
                loss = task(images, labels)["loss"]
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

        return step

    def eval_step(self, which: str) -> Callable[[], None]:
        """Scoring one batch against text features that are there already."""
        settings, images = self.settings, self.images(self.settings.eval_batch_size)
        classifier = build_classifier(self.model, self.tokens[:2])
        reference = ReferenceTask(self.model, self.tokens[:2]) if which == REFERENCE else None

        @torch.no_grad()
        def step() -> None:
            with autocast(settings.precision, self.device):
                if which == OURS:
                    class_scores(self.model, classifier, images, "fused")
                elif which == REFERENCE:
                    reference.encode_image(images)
                else:
                    self.model.visual(images)

        return step

    def matrix_product_rate(self) -> float:
        """Operations per second of the product that towers are made of, in this precision."""
        width = self.model.visual.proj.shape[0]
        x = torch.randn(2048, width, device=self.device)
        weight = torch.randn(4 * width, width, device=self.device)

        def product() -> None:
            with autocast(self.settings.precision, self.device):
                nn.functional.linear(x, weight)

        return 2 * 2048 * width * 4 * width / self.seconds({"product": product})["product"]

    def seconds(self, steps: dict[str, Callable[[], None]]) -> dict[str, float]:
        """Median seconds of every step, taken in turn, after one round of warming up."""
        taken: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(self.settings.repeats + 1):
            for name, step in steps.items():
                start = time.perf_counter()
                step()
                if self.device.type == "cuda":
                    torch.cuda.synchronize()
                taken[name].append(time.perf_counter() - start)
        return {name: median(values[1:]) for name, values in taken.items()}

    def operations(self, which: str) -> int:
        """Operations of one training step.

        Those of the reference grow by the same amount with every class, for all its prompts
        have full length: two small counts give them for any number.
        """
        if which == OURS or self.settings.classes <= 3:
            return _count(self.train_step(which))
        two, three = (_count(self.train_step(which, classes)) for classes in (2, 3))
        return two + (self.settings.classes - 2) * (three - two)


def measure(settings: SpeedSettings, say: Callable[[str], None] = lambda text: None) -> dict:
    """All figures of one setting, as a JSON-ready dict."""
    if settings.repeats < 1 or settings.classes < 1 or settings.batch_size < 1:
        raise UsageError("repeats, classes and batch_size have to be 1 or more.")
    memory = {}
    compared = [OURS, REFERENCE] if settings.reference else [OURS]
    if settings.memory:
        for which in compared:
            say(f"peak memory of one step, {which}, in a process of its own ...")
            memory[which] = step_memory(settings, which)
    bench = Bench(settings)
    say("counting operations ...")
    operations = {which: bench.operations(which) for which in (OURS, REFERENCE)}
    rate = bench.matrix_product_rate()
    say(f"training steps, {settings.classes} classes, {settings.repeats + 1} rounds ...")
    train = bench.seconds({which: bench.train_step(which) for which in compared})
    gc.collect()
    say("evaluation ...")
    scored = bench.seconds({which: bench.eval_step(which) for which in (*compared, OPEN_CLIP)})
    per_second = {which: settings.eval_batch_size / s for which, s in scored.items()}
    name = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "cpu"
    return {
        "train_step": {
            "seconds": train[OURS],
            "reference_seconds": train.get(REFERENCE),
            "operations": operations[OURS],
            "reference_operations": operations[REFERENCE],
            "peak_bytes": memory.get(OURS),
            "reference_peak_bytes": memory.get(REFERENCE),
            "floor_seconds": operations[OURS] / rate,
        },
        "eval": {
            "images_per_second": per_second[OURS],
            "reference_images_per_second": per_second.get(REFERENCE),
            "open_clip_images_per_second": per_second[OPEN_CLIP],
        },
        "matrix_product_rate": rate,
        "settings": {**asdict(settings), "device": str(bench.device), "device_name": name}
        | {"threads": torch.get_num_threads(), "torch": torch.__version__},
    }


def step_memory(settings: SpeedSettings, which: str) -> int:
    """Peak bytes of a training step above the bare model's."""
    return peak_bytes(partial(_prepare, settings, which), f"{which}, {settings.classes} classes")


def _prepare(settings: SpeedSettings, which: str):
    bench = Bench(settings)
    return bench.device, partial(bench.train_step, which)


def _count(step: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def sweep(
    settings: SpeedSettings,
    classes: tuple[int, ...] = (10, 50, 100, 250, 500, 1000),
    largest_reference: int = 250,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict]:
    """The same for several numbers of classes; the reference only as far as is bearable."""
    results = []
    for count in classes:
        say(f"{count} classes")
        with_reference = settings.reference and count <= largest_reference
        results.append(measure(replace(settings, classes=count, reference=with_reference), say))
    return results
