"""Files of images with the same content, in one class or in several."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..utils.digest import file_digest
from ..utils.text import listing, printable

logger = logging.getLogger(__name__)

_FEW = 4
"""Files named in a warning."""

Images = Mapping[str, Sequence[str]]
"""Paths from the folder of the class folders on, "/" between their parts, by class folder."""


def first_copies(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return, of images whose content is there more than once, the first path with that content."""
    by_size: dict[int, list[str]] = {}
    for path in paths:
        by_size.setdefault(file_size(root / path), []).append(path)
    first: dict[str, str] = {}
    for size, same_size in by_size.items():
        if size > 0 and len(same_size) > 1:
            by_content: dict[str, str] = {}
            for path in sorted(same_size):
                content = content_digest(root / path) or path
                first[path] = by_content.setdefault(content, path)
    counts: dict[str, int] = {}
    for path in first.values():
        counts[path] = counts.get(path, 0) + 1
    return {path: one for path, one in first.items() if counts[one] > 1}


def in_several_classes(images: Images, first: Mapping[str, str]) -> set[str]:
    """Return the first paths of contents that are in more than one class."""
    classes: dict[str, set[str]] = {}
    for name, paths in images.items():
        for path in paths:
            if path in first:
                classes.setdefault(first[path], set()).add(name)
    return {path for path, names in classes.items() if len(names) > 1}


def warn_of_copies(root: Path, first: Mapping[str, str], disputed: set[str]) -> None:
    """Warn of copies, and of images in two classes (`disputed`)."""
    pairs = [(path, one) for path, one in first.items() if path != one]
    plain = [f"{path} = {one}" for path, one in pairs if one not in disputed]
    if plain:
        logger.warning(
            "%s: %s of another one; both are on the same side of the split: %s.",
            root, "1 image is a copy" if len(plain) == 1 else f"{len(plain):,} images are copies",
            printable(listing(plain, _FEW)),
        )  # fmt: skip
    clash = [f"{path} = {one}" for path, one in pairs if one in disputed]
    if clash:
        logger.warning(
            "%s: the same image is in two classes, so that one label is wrong; it is trained on as "
            "both, and not tested: %s. Remove the wrong ones.",
            root, printable(listing(clash, _FEW)),
        )  # fmt: skip


def file_size(path: Path) -> int:
    """Return a file's size; -1 where it cannot be had."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def content_digest(path: Path) -> str | None:
    """Return the digest of a file's content; None where it cannot be read."""
    try:
        return file_digest(path)
    except OSError:
        return None
