"""The steps that are compared: ours, the literal reference's, plain open_clip's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ...config import TrainConfig
from ...evaluation.predict import build_classifier, class_scores
from ...models.precision import autocast, half_type, in_half
from ...models.reference import ReferenceTask
from ...models.task import MMRLTask
from ...training.cuda_graph import WARM_UP, GraphedStep
from ...training.step import Step, TrainingStep
from .settings import TEMPLATE, SpeedSettings, class_names

OURS, REFERENCE, OPEN_CLIP = "ours", "reference", "open_clip"

Call = Callable[[], object]


class Bench:
    """A model on random weights, and the steps that are compared.

    In a half precision ours runs on weights that are kept in half, the others on the float32
    weights, which autocast converts: ours as it trains, the others as they are written.

    Raises:
        UsageError: the device is not there, or cannot do what the settings ask for.
    """

    def __init__(self, settings: SpeedSettings) -> None:
        self.settings = settings
        self.device = settings.check_device()
        loaded = settings.load(self.device)
        self.model = loaded.model
        tokens = loaded.class_tokens(class_names(settings.classes), TEMPLATE)
        self.tokens = tokens.to(self.device)

    def images(self, count: int) -> Tensor:
        """Draw images, [count, 3, H, W]."""
        height, width = self.model.visual.image_size
        return torch.randn(count, 3, height, width, device=self.device)

    def batch(self, classes: int) -> tuple[Tensor, Tensor]:
        """Return a batch of training: images [B, 3, H, W] and labels [B] of so many classes."""
        size = self.settings.batch_size
        return self.images(size), torch.arange(size, device=self.device) % classes

    def train_step(self, which: str, classes: int | None = None) -> TrainingStep:
        """Return the product's training step, over our task or the reference's."""
        settings, tokens = self.settings, self.tokens[:classes]
        if which == OURS:
            task = MMRLTask(self.model, tokens, settings.text_chunk_size)
            task.model = in_half(self.model, settings.precision)
            return TrainingStep(task, TrainConfig(precision=settings.precision), self.device)
        config = TrainConfig(precision=settings.literal_precision)
        return TrainingStep(ReferenceTask(self.model, tokens), config, self.device)

    def eval_step(self, which: str) -> Call:
        """Return the scoring of one batch against text features that are computed already."""
        settings, images = self.settings, self.images(self.settings.eval_batch_size)
        precision = settings.precision if which == OURS else settings.literal_precision
        if which == OURS:
            classifier = build_classifier(self.model, self.tokens[:2])
            half = in_half(self.model, precision)
            score: Call = partial(class_scores, half, classifier, images, "fused")
        elif which == REFERENCE:
            score = partial(ReferenceTask(self.model, self.tokens[:2]).encode_image, images)
        else:
            score = partial(self.model.visual, images)

        @torch.no_grad()
        def step() -> None:
            with autocast(precision, self.device):
                score()

        return step

    def train_seconds(self, compared: Iterable[str]) -> tuple[dict[str, float], tuple[str, ...]]:
        """Time the training steps; return their seconds, and the warnings of the CUDA graph."""
        ours, notes = self.train_step(OURS), list[str]()
        steps: dict[str, Step] = {
            which: ours if which == OURS else self.train_step(which) for which in compared
        }
        if self.settings.cuda_graph:
            steps[OURS] = graphed = GraphedStep.of(ours)
            notes = graphed.notes
        batch = self.batch(self.settings.classes)
        found = self.seconds({which: partial(step, *batch) for which, step in steps.items()})
        return found, tuple(notes)

    def seconds(self, calls: Mapping[str, Call]) -> dict[str, float]:
        """Return the median seconds of every call, taken in turn.

        One round before them is not counted; with a CUDA graph, as many more as it takes to have
        one recorded.
        """
        taken: dict[str, list[float]] = {name: [] for name in calls}
        repeats = self.settings.repeats
        for _ in range(repeats + 1 + WARM_UP * self.settings.cuda_graph):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if self.device.type == "cuda":
                    torch.cuda.synchronize()
                taken[name].append(time.perf_counter() - start)
        return {name: median(values[-repeats:]) for name, values in taken.items()}

    def operations(self, which: str) -> int:
        """Count the operations of one training step.

        Those of the reference grow by the same amount with every class, because all its prompts
        have full length: two small counts give them for any number of classes.
        """
        classes = self.settings.classes
        if which == OURS or classes <= 3:
            return self._count(which, classes)
        two, three = self._count(which, 2), self._count(which, 3)
        return two + (classes - 2) * (three - two)

    def _count(self, which: str, classes: int) -> int:
        return count_operations(partial(self.train_step(which, classes), *self.batch(classes)))


def count_operations(call: Call) -> int:
    """Count multiplications and additions, separately, of one call, in whatever type."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


_ROWS = 2048


@torch.no_grad()
def matrix_product_rate(
    device: torch.device, precision: str = "fp32", size: int = 768, repeats: int = 5
) -> float:
    """Measure the operations per second of a matrix product as in the towers.

    A linear layer from `size` to 4 * `size` over 2048 rows, all of it in the type of a precision.
    A multiplication and an addition are two operations. The median of `repeats`, after one more
    to warm up.
    """
    dtype = half_type(precision) or torch.float32
    x = torch.randn(_ROWS, size, device=device, dtype=dtype)
    weight = torch.randn(4 * size, size, device=device, dtype=dtype)
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        F.linear(x, weight)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return 2 * _ROWS * size * 4 * size / median(taken[1:])
