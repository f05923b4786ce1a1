"""Paths as users give them, of files, folders and patterns, to the image files they stand for."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..utils.files import expand_home
from .folders import ignored_note, images_below, is_litter


@dataclass(frozen=True)
class ImagePaths:
    """Image files, each once, and what is not among them."""

    images: list[Path]
    """In the order given; the files of a folder or a pattern are sorted."""
    missing: dict[str, str]
    """Paths without an image, and why."""
    notes: list[str]
    """What was left out of folders, one line each."""


def image_paths(paths: Iterable[str | Path]) -> ImagePaths:
    """Return the image files that paths stand for; no file is decoded.

    Args:
        paths: files, which are taken whatever they are called; folders, for all images in them
            and below, without hidden files; and patterns such as "photos/**/*.jpg", where no file
            has that very name.
    """
    images: dict[str, Path] = {}
    missing: dict[str, str] = {}
    notes: list[str] = []

    def add(path: Path) -> None:
        if not path.is_dir():
            images.setdefault(os.path.abspath(path), path)  # noqa: PTH100  (links stay)
            return
        found = images_below(path)
        for image in found.images:
            images.setdefault(os.path.abspath(image), image)  # noqa: PTH100
        if not found.images:
            missing[str(path)] = "it holds no images"
        note = ignored_note(path, found.ignored, found.hidden)
        notes.extend([note] if note else [])

    for given in dict.fromkeys(map(str, paths)):
        if not given.strip():  # an empty variable of a shell
            missing[given] = "the path is empty; give . for the current folder"
            continue
        path = expand_home(given)
        matches = [] if _exists(path) or not glob.has_magic(given) else _matches(path)
        if _exists(path):
            add(path)
        elif matches:
            for match in matches:
                add(match)
        else:
            is_pattern = glob.has_magic(given)
            missing[given] = "no file matches it" if is_pattern else "it does not exist"
    return ImagePaths(list(images.values()), missing, notes)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def _matches(pattern: Path) -> list[Path]:
    """Return what a pattern matches, sorted; what it does not name itself is not hidden."""
    try:
        found = sorted(map(Path, glob.glob(str(pattern), recursive=True)))  # noqa: PTH207  (relative ones too)
    except (OSError, ValueError):
        return []
    given = pattern.parts
    return [p for p in found if not any(is_litter(n) and n not in given for n in p.parts)]
