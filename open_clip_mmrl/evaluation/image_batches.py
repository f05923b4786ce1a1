"""Image files as a stream of batches, decoded by threads; those that cannot be read are no errors.

Shapes: H x W the model's input size.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from torch import Tensor

from ..data.example import Example, read_image
from ..data.loading.images import EVAL_BATCH, Transform

_MAX_THREADS = 8


def image_batches(
    images: Sequence[str | Path], transform: Transform, threads: int | None = None
) -> Iterator[list[Tensor | str]]:
    """Yield batches of preprocessed images [3, H, W], or reasons why they cannot be read.

    The next batch is decoded while the consumer works on this one.

    Args:
        images: paths of image files; a camera's orientation is applied.
        transform: from a decoded image to a tensor.
        threads: that decode; None takes the CPU's cores, 8 at most.
    """
    pool = ThreadPoolExecutor(threads or _cores())
    try:
        paths, waiting = iter(images), deque[Future[Tensor | str]]()
        while True:
            for path in islice(paths, 2 * EVAL_BATCH - len(waiting)):
                waiting.append(pool.submit(_read, Path(path), transform))
            if not waiting:
                return
            yield [waiting.popleft().result() for _ in range(min(EVAL_BATCH, len(waiting)))]
    finally:  # Ctrl-C must not wait for all that are queued
        pool.shutdown(wait=False, cancel_futures=True)


def _read(path: Path, transform: Transform) -> Tensor | str:
    try:
        return transform(read_image(Example(image=path, label=0, upright=True)))
    except Exception as error:  # of any kind: the others are answered all the same
        return str(error.__cause__ or error) or type(error).__name__


def _cores() -> int:
    """Return how many cores this process may use, up to a bound."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return min(cores, _MAX_THREADS)
