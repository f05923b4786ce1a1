"""Ours, the literal reference and plain open_clip, measured in one run on random weights.

Speeds are medians of interleaved repetitions, so that a machine that slows down slows all alike.
Peak memory is that of a child process each, above what the bare model takes. Operations are
counted by PyTorch while the step runs (multiplications and additions separately).
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch

from .bench import OPEN_CLIP, OURS, REFERENCE, Bench, matrix_product_rate
from .peak_memory import peak_bytes
from .settings import Machine, SpeedSettings

logger = logging.getLogger(__name__)

SWEEP = (10, 50, 100, 250, 500, 1000)
"""Numbers of classes."""


@dataclass(frozen=True, kw_only=True)
class TrainStep:
    """A training step of ours and of the reference; None for what was not run."""

    seconds: float
    reference_seconds: float | None
    operations: int
    reference_operations: int
    peak_bytes: int | None
    reference_peak_bytes: int | None
    floor_seconds: float
    """What ours would take if it were nothing but matrix products."""
    operations_per_second: float
    share_of_matrix_product_rate: float


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Images per second of ours, of the reference (None if not run) and of open_clip."""

    images_per_second: float
    reference_images_per_second: float | None
    open_clip_images_per_second: float


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """All numbers of one setting."""

    settings: SpeedSettings
    machine: Machine
    train_step: TrainStep
    eval: Scoring
    matrix_product_rate: float
    """Operations per second of the device, in products of the same precision."""
    notes: tuple[str, ...]
    """Warnings of the CUDA graph."""

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        values = asdict(self) | {"notes": list(self.notes)}
        return values | {"settings": values["settings"] | values.pop("machine")}


def measure(settings: SpeedSettings) -> Measurement:
    """Measure one setting.

    Raises:
        UsageError: the device is not there, or cannot do what the settings ask for.
        RuntimeError: a child process ended early, or its memory cannot be read.
    """
    settings.check_device()  # before a child process would fail
    compared = [OURS, REFERENCE] if settings.reference else [OURS]
    memory = {}
    for which in compared if settings.memory else ():
        logger.info("peak memory of one step, %s, in a separate process ...", which)
        memory[which] = step_memory(settings, which)
    bench = Bench(settings)
    logger.info("counting operations ...")
    operations = {which: bench.operations(which) for which in (OURS, REFERENCE)}
    width = bench.model.image_tower.width
    rate = matrix_product_rate(bench.device, settings.precision, width)
    rounds = settings.repeats + 1
    logger.info("training steps, %d classes, %d rounds ...", settings.classes, rounds)
    train, notes = bench.train_seconds(compared)
    gc.collect()
    logger.info("scoring ...")
    scored = bench.seconds({which: bench.eval_step(which) for which in (*compared, OPEN_CLIP)})
    per_second = {which: settings.eval_batch_size / s for which, s in scored.items()}
    speed = operations[OURS] / train[OURS]
    return Measurement(
        settings=settings,
        machine=Machine.of(bench.device),
        train_step=TrainStep(
            seconds=train[OURS],
            reference_seconds=train.get(REFERENCE),
            operations=operations[OURS],
            reference_operations=operations[REFERENCE],
            peak_bytes=memory.get(OURS),
            reference_peak_bytes=memory.get(REFERENCE),
            floor_seconds=operations[OURS] / rate,
            operations_per_second=speed,
            share_of_matrix_product_rate=speed / rate,
        ),
        eval=Scoring(
            images_per_second=per_second[OURS],
            reference_images_per_second=per_second.get(REFERENCE),
            open_clip_images_per_second=per_second[OPEN_CLIP],
        ),
        matrix_product_rate=rate,
        notes=notes,
    )


def sweep(settings: SpeedSettings, largest_reference: int) -> list[Measurement]:
    """Measure the numbers of classes of `SWEEP`; the reference only up to so many classes."""
    results = []
    for count in SWEEP:
        logger.info("%d classes", count)
        with_reference = settings.reference and count <= largest_reference
        results.append(measure(replace(settings, classes=count, reference=with_reference)))
    return results


def step_memory(settings: SpeedSettings, which: str) -> int:
    """Return the peak bytes of a training step above the bare model's."""
    return peak_bytes(partial(_prepare, settings, which), f"{which}, {settings.classes} classes")


def _prepare(
    settings: SpeedSettings, which: str
) -> tuple[torch.device, AbstractContextManager[Callable[[], object]]]:
    bench = Bench(settings)
    return bench.device, _step(bench, which)


@contextmanager
def _step(bench: Bench, which: str) -> Iterator[Callable[[], object]]:
    step, batch = bench.train_step(which), bench.batch(bench.settings.classes)
    yield partial(step, *batch)
