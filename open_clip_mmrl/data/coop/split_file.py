"""CoOp's split files: `{"train": [[path, label, classname], ...], "val": ..., "test": ...}`.

Paths are relative to the data set's image folder.
"""

import reprlib
from pathlib import Path
from typing import Any

from ...utils.files import read_json
from ...utils.text import listing
from ..dataset import SPLITS

SHAPE = 'a split file is {"train": [[path, label, classname], ...], "val": ..., "test": ...}'
Rows = list[tuple[str, int, str]]
"""Path, label and class name of each image."""


def read_split_file(split_file: Path) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Return the rows of "train", "val" and "test", and the class names by label.

    Raises:
        ValueError: not JSON, not of this shape, no images, labels other than 0 to n - 1 (over the
            three splits together), or two names for one label. The message names key and row.
    """
    content = read_json(split_file)
    if not isinstance(content, dict):
        raise ValueError(f"{split_file} holds a {type(content).__name__}; {SHAPE}")
    content.setdefault("val", [])

    splits: dict[str, Rows] = {}
    for split in SPLITS:
        if split not in content:
            raise ValueError(f"{split_file} has no key {split!r}; {SHAPE}")
        if not isinstance(content[split], list):
            raise ValueError(f"{split_file}: {split!r} is not a list; {SHAPE}")
        for index, row in enumerate(content[split]):
            if not _is_row(row):
                raise ValueError(
                    f"{split_file}: {split!r}, row {index} is {reprlib.repr(row)}, not "
                    f"[path, label, classname]; {SHAPE}"
                )
        splits[split] = [(path, label, name) for path, label, name in content[split]]
    return splits, names_by_label(splits, split_file)


def names_by_label(splits: dict[str, Rows], source: Path) -> tuple[str, ...]:
    """Return the class names that the rows give, one per label.

    Raises:
        ValueError: no rows, labels other than 0 to n - 1, or two names for one label.
    """
    name_of: dict[int, str] = {}
    for split, rows in splits.items():
        for index, (_, label, class_name) in enumerate(rows):
            if name_of.setdefault(label, class_name) != class_name:
                raise ValueError(
                    f"{source}: {split!r}, row {index}: label {label} is named {class_name!r} here "
                    f"and {name_of[label]!r} before; a label has one class name"
                )
    if not name_of:
        raise ValueError(f"{source} lists no images")
    if set(name_of) != set(range(len(name_of))):
        raise ValueError(
            f"{source}: {len(name_of)} classes must have the labels 0 to {len(name_of) - 1}, "
            f"but they are {listing(sorted(name_of))}"
        )
    return tuple(name_of[label] for label in range(len(name_of)))


def _is_row(row: Any) -> bool:
    # The exact type, because JSON's true and false are integers to isinstance.
    return isinstance(row, list) and [type(value) for value in row] == [str, int, str]
