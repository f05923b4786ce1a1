"""FGVC-Aircraft in its authors' own files, which CoOp takes as they are.

variants.txt: one class name a line, in the order of the labels.
images_variant_{train,val,test}.txt: "0034309 707-320", an image's name and its class.
"""

from __future__ import annotations

from pathlib import Path

from ...utils.text import did_you_mean
from ..dataset import SPLITS
from .catalog import Entry
from .lines import read_lines
from .split_file import Rows


def read_aircraft(entry: Entry, folder: Path) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Return the rows (path, label, class name) of each split, and the class names by label.

    Raises:
        ValueError: a file is missing, a line cannot be read, or names a class that is not in
            `variants.txt`.
    """
    variants = folder / "variants.txt"
    lines = read_lines(variants, r"(.+)", "707-320", entry.source)
    class_names = tuple(name for _, (name,) in lines)
    label_of = {name: label for label, name in enumerate(class_names)}

    splits: dict[str, Rows] = {split: [] for split in SPLITS}
    for split, rows in splits.items():
        path = folder / f"images_variant_{split}.txt"
        for where, (image, name) in read_lines(
            path, r"(\S+) (.+)", "0034309 707-320", entry.source
        ):
            if name not in label_of:
                raise ValueError(
                    f"{where}: {name!r} is not in {variants}.{did_you_mean(name, label_of)}"
                )
            rows.append((f"{image}.jpg", label_of[name], name))
    return splits, class_names
