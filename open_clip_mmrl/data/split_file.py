"""CoOp's split files: `{"train": [[path, label, classname], ...], "val": ..., "test": ...}`.

Paths are relative to the data set's image folder.
"""

import json
from pathlib import Path
from typing import Any

from .messages import listing

SHAPE = 'a split file is {"train": [[path, label, classname], ...], "val": ..., "test": ...}'


def read_split(
    split_file: Path,
) -> tuple[dict[str, list[tuple[str, int, str]]], tuple[str, ...]]:
    """The rows of "train", "val" and "test", and the class names by label.

    Raises:
        ValueError: not JSON, not of this shape, no images, labels other than 0 to n - 1 (over the
            three parts together), or two names for one label. The message names key and row.
    """
    try:
        content = json.loads(split_file.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one too
        raise ValueError(f"{split_file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{split_file} holds a {type(content).__name__}; {SHAPE}")
    content.setdefault("val", [])

    parts: dict[str, list[tuple[str, int, str]]] = {}
    name_of: dict[int, str] = {}
    for part in ("train", "val", "test"):
        if part not in content:
            raise ValueError(f"{split_file} has no key {part!r}; {SHAPE}")
        if not isinstance(content[part], list):
            raise ValueError(f"{split_file}: {part!r} is not a list; {SHAPE}")
        for index, row in enumerate(content[part]):
            where = f"{split_file}: {part!r}, row {index}"
            if not _is_row(row):
                raise ValueError(f"{where} is {row!r}, not [path, label, classname]; {SHAPE}")
            _, label, class_name = row
            if name_of.setdefault(label, class_name) != class_name:
                raise ValueError(
                    f"{where}: label {label} is named {class_name!r} here and "
                    f"{name_of[label]!r} before; a label has one class name"
                )
        parts[part] = [tuple(row) for row in content[part]]
    if not name_of:
        raise ValueError(f"{split_file} lists no images")
    if set(name_of) != set(range(len(name_of))):
        raise ValueError(
            f"{split_file}: {len(name_of)} classes must have the labels 0 to {len(name_of) - 1}, "
            f"but they are {listing(sorted(name_of))}"
        )
    return parts, tuple(name_of[label] for label in range(len(name_of)))


def _is_row(row: Any) -> bool:
    # The exact type, because JSON's true and false are integers to isinstance.
    return isinstance(row, list) and [type(value) for value in row] == [str, int, str]
