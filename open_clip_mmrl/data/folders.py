"""Folders of images by class: which class folders there are, and which images they hold.

Folders are listed with `os.scandir`, which asks the system once per folder and not once per file:
ImageNet has 1.3 million files.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..utils.text import listing

IMAGE_SUFFIXES = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"
)  # fmt: skip


def class_folders(folder: Path, remedy: str) -> list[str]:
    """Return the sorted names of the folders in `folder`; files and hidden folders are skipped.

    Raises:
        ValueError: it holds none; the message ends with `remedy`.
    """
    with os.scandir(folder) as entries:
        found = sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    if not found:
        raise ValueError(f"{folder} holds no class folders; {remedy}")
    return found


def image_names(folder: Path) -> list[str]:
    """Return the sorted file names of the images in a class folder; anything else is skipped.

    An image has a suffix of `IMAGE_SUFFIXES`, in capitals or not, and is not hidden.

    Raises:
        ValueError: it holds none.
    """
    with os.scandir(folder) as entries:
        found = sorted(e.name for e in entries if _is_image_name(e.name) and e.is_file())
    if not found:
        raise ValueError(
            f"class folder {folder} holds no images ({listing(IMAGE_SUFFIXES, 10)}); "
            "add them, or remove the folder"
        )
    return found


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)
