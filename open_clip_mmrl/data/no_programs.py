"""Pillow without Ghostscript, for images that others open."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

_LOCK = threading.Lock()
_saved: list[str | bool | None] = []
"""One entry for every open block of `no_programs`; after the last, the first is put back."""


@contextmanager
def no_programs() -> Generator[None, None, None]:
    """Keep Pillow from starting Ghostscript, where others open images: data sets of torchvision.

    It holds for the whole process as long as any thread is in such a block.
    """
    from PIL import EpsImagePlugin

    with _LOCK:
        _saved.append(EpsImagePlugin.gs_binary if not _saved else None)
        EpsImagePlugin.gs_binary = False  # its word for "not installed"
    try:
        yield
    finally:
        with _LOCK:
            last = _saved.pop()
            if not _saved:
                EpsImagePlugin.gs_binary = last
