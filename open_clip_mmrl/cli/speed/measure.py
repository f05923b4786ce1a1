"""Ours against the paper-literal reference and plain open_clip, in one run, on random weights.

Speeds are medians of interleaved repetitions, so that a machine that slows down slows all alike.
Peak memory is that of a child process each, above what the bare model takes. Operations are
counted by PyTorch while the step runs (multiplications and additions apart).
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

import torch
from torch import Tensor

from ...errors import UsageError
from ...experiments.time_estimate import matrix_product_rate
from .bench import OPEN_CLIP, OURS, REFERENCE, Bench, SpeedSettings, check_device
from .peak_memory import peak_bytes


def measure(settings: SpeedSettings, say: Callable[[str], None] = lambda text: None) -> dict:
    """All figures of one setting, as a JSON-ready dict."""
    if settings.repeats < 1 or settings.classes < 1 or settings.batch_size < 1:
        raise UsageError("repeats, classes and batch_size have to be 1 or more.")
    check_device(settings)  # here, where it can be said, and not in a child process
    memory = {}
    compared = [OURS, REFERENCE] if settings.reference else [OURS]
    if settings.memory:
        for which in compared:
            say(f"peak memory of one step, {which}, in a process of its own ...")
            memory[which] = step_memory(settings, which)
    bench = Bench(settings)
    say("counting operations ...")
    operations = {which: bench.operations(which) for which in (OURS, REFERENCE)}
    width = bench.model.visual.proj.shape[0]
    rate = matrix_product_rate(bench.device, settings.precision, width)
    say(f"training steps, {settings.classes} classes, {settings.repeats + 1} rounds ...")
    recorded = {which: settings.cuda_graph and which == OURS for which in compared}
    steps = {which: bench.train_step(which, recorded=recorded[which]) for which in compared}
    train = bench.seconds(steps)
    del steps
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
            "operations_per_second": operations[OURS] / train[OURS],
            "share_of_matrix_product_rate": operations[OURS] / train[OURS] / rate,
        },
        "eval": {
            "images_per_second": per_second[OURS],
            "reference_images_per_second": per_second.get(REFERENCE),
            "open_clip_images_per_second": per_second[OPEN_CLIP],
        },
        "matrix_product_rate": rate,
        "notes": bench.notes,
        "settings": {**asdict(settings), "device": str(bench.device), "device_name": name}
        | {"threads": torch.get_num_threads(), "torch": torch.__version__},
    }


def in_words(result: dict) -> str:
    """What the table has no line for: how near the step comes to the device's own speed."""
    train, settings = result["train_step"], result["settings"]
    lines = [
        f"training: {train['operations_per_second'] / 1e9:.1f} * 10^9 operations per second, "
        f"{train['share_of_matrix_product_rate']:.0%} of {settings['device_name']}'s matrix "
        f"products in the same precision{', as a CUDA graph' if settings['cuda_graph'] else ''}",
        *result["notes"],
    ]
    return "\n".join(lines)


def step_memory(settings: SpeedSettings, which: str) -> int:
    """Peak bytes of a training step above the bare model's."""
    return peak_bytes(partial(_prepare, settings, which), f"{which}, {settings.classes} classes")


def _prepare(settings: SpeedSettings, which: str):
    bench = Bench(settings)
    return bench.device, partial(_step_in_half, bench, which)


def _step_in_half(bench: Bench, which: str) -> Callable[[], Tensor]:
    """A step in a process that ends with it: nobody puts the float32 weights back."""
    step = bench.train_step(which)
    if which == OURS:
        bench.held.enter_context(bench.in_half())
    return step


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
