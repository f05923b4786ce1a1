"""What the readers of the field's layout share: text files by lines, folders of images by names.

Folders are listed with `os.scandir`, one call each and no look at the single file: ImageNet has
1.3 million.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...errors import UsageError
from ...utils.text import listing
from ..readers.image_folder import IMAGE_SUFFIXES


def require(path: Path, source: str) -> Path:
    """`path`, if it exists.

    Raises:
        UsageError: it does not; the message says where it comes from.
    """
    if not path.exists():
        raise UsageError(f"{path} is missing; get it from {source} and put it there")
    return path


def read_lines(path: Path, pattern: str, shape: str, source: str) -> list[tuple[str, tuple]]:
    """Every line that is not blank: where it stands, and the groups of `pattern`.

    Args:
        shape: the line in words, for errors.
        source: where the file comes from, for errors.

    Raises:
        ValueError: the file is missing, not text, empty, or a line does not match.
    """
    try:
        text = require(path, source).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); get it from {source}") from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line:
            continue
        where = f"{path}, line {number}"
        match = re.fullmatch(pattern, line)
        if match is None:
            raise ValueError(f"{where}: {line!r} is not of the form {shape!r}")
        found.append((where, match.groups()))
    if not found:
        raise ValueError(f"{path} has no lines; each should be {shape!r}")
    return found


def class_folders(folder: Path, source: str) -> list[str]:
    """Names of the folders in `folder`, sorted; files and hidden folders are passed over.

    Raises:
        ValueError: `folder` is missing, or holds none.
    """
    with os.scandir(require(folder, source)) as entries:
        found = sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    if not found:
        raise ValueError(f"{folder} holds no class folders; unpack the images of {source} there")
    return found


def image_names(folder: Path) -> list[str]:
    """File names of the images in a class folder, sorted; anything else is passed over.

    Raises:
        ValueError: it holds none.
    """
    found = sorted(
        name
        for name in os.listdir(folder)
        if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
    )
    if not found:
        raise ValueError(
            f"class folder {folder} holds no images ({listing(sorted(IMAGE_SUFFIXES), 10)}); "
            "unpack them again, or remove the folder"
        )
    return found
