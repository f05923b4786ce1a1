"""A hint for errors of GPU memory."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def oom_hint(what: str, helps: str) -> Generator[None, None, None]:
    """Turn an out-of-memory error of a GPU into one line that says what helps.

    Args:
        what: what is being done, such as "scoring 5 images".
        helps: what a user can do, such as "use a smaller batch_size".

    Raises:
        ValueError: the GPU's memory was too small; the message has `what` and `helps`.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise ValueError(f"out of GPU memory in {what} ({reason}): {helps}.") from error
