"""What a user should know of a run before it trains: data, training, device."""

from __future__ import annotations

from collections import Counter
from statistics import median

from ..data import ImageData
from ..data.more_prompts import wording
from ..utils.text import counted, listing
from .resolve import ResolvedRun

_FEW = 6
"""Classes up to which each is named."""


def data_line(data: ImageData) -> str:
    """Return a data set's classes and images in one line."""
    sizes = ", ".join(f"{len(data.split(s)):,} {s}" for s in ("train", "val", "test"))
    return f"{data.spec}: {data.num_classes} classes; images: {sizes}"


def whole_block(job: ResolvedRun) -> str:
    """Return the data set, what is trained on, and how and where, in a few lines."""
    data, subset, train = job.data, job.subset, job.run.train
    steps = train.steps(len(subset.train))
    lines = [
        data_line(data),
        f"train images by class: {_by_class(data)}",
        f"trained on: {counted(len(subset.train), 'image')} of {subset.num_classes} classes "
        f"({_by_class(subset, few=0)})",
        f'prompt: "{wording(data.template, data.prompts)}"',
        f"training: {counted(train.epochs, 'epoch')}, {counted(steps, 'step')} of "
        f"{train.batch_size} images, on {job.device} in {train.precision}",
    ]
    return "\n".join(lines)


def _by_class(data: ImageData, few: int = _FEW) -> str:
    found = Counter(example.label for example in data.train)
    counts = [found[label] for label in range(data.num_classes)]
    if len(counts) <= few:
        named = zip(data.class_names, counts, strict=True)
        return listing((f"{name} {count:,}" for name, count in named), few)
    low, high = min(counts), max(counts)
    return f"{low:,} each" if low == high else f"{low:,} to {high:,}, median {median(counts):,g}"
