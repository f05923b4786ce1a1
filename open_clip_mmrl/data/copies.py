"""Files of images with the same content, in one class or in several, in one split or in two."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path

from ..utils.digest import file_digest
from ..utils.text import listing, printable

logger = logging.getLogger(__name__)

_FEW = 4
"""Files named in a warning."""
_TAIL = 4096
"""Bytes from the end that tell most files of one size apart, so that few are read whole."""
_MOST = 100_000
"""Images among which given splits are compared: seconds of work."""

Images = Mapping[str, Sequence[str]]
"""Paths from the folder of the class folders on, "/" between their parts, by class folder."""


def first_copies(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return, of images whose content is there more than once, the first path with that content."""
    groups = [sorted(paths)]
    for look in (file_size, _tail, content_digest):
        found: dict[Hashable, list[str]] = {}
        for number, group in enumerate(groups):
            for path in group:
                seen = look(root / path)
                if seen not in (None, 0, -1):
                    found.setdefault((number, seen), []).append(path)
        groups = [group for group in found.values() if len(group) > 1]
    return {path: group[0] for group in groups for path in group}


def warn_of_shared(root: Path, splits: Mapping[str, Images]) -> None:
    """Warn of images that are in two given splits; of more than `_MOST`, none is looked at.

    Args:
        root: the folder that the paths begin in.
        splits: the images of each split.
    """
    split_of = {p: split for split, images in splits.items() for c in images.values() for p in c}
    if len(splits) < 2 or len(split_of) > _MOST:
        return
    kept: dict[str, str] = {}  # by the first path with a content, the first in training
    pairs = []
    first = first_copies(root, split_of)
    for path in sorted(first, key=lambda path: split_of[path] != "train"):
        one = kept.setdefault(first[path], path)
        if split_of[one] != split_of[path]:
            pairs.append(f"{path} = {one}")
    if pairs:
        logger.warning(
            "%s: %s of one in another split, so that results flatter: %s. Remove one of each.",
            root, "1 image is a copy" if len(pairs) == 1 else f"{len(pairs):,} images are copies",
            printable(listing(pairs, _FEW)),
        )  # fmt: skip


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


def _tail(path: Path) -> bytes | None:
    """Return the last bytes of a file; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read(_TAIL)
    except OSError:
        return None


def content_digest(path: Path) -> str | None:
    """Return the digest of a file's content; None where it cannot be read."""
    try:
        return file_digest(path)
    except OSError:
        return None
