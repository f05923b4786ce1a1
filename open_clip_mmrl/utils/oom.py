"""What to do when a GPU's memory does not suffice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def oom_hint(what: str, helps: str) -> Iterator[None]:
    """Say what to do where a GPU's memory does not suffice.

    Raises:
        ValueError: it did not; with `what` was being done and what `helps`.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        told = str(error).partition("\n")[0].partition(". ")[0]
        raise ValueError(f"out of GPU memory in {what} ({told}): {helps}.") from error
