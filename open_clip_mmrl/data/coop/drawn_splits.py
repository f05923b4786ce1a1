"""Splits drawn here, where the published `split_zhou_*.json` is not there.

Shares and class names are CoOp's, and so are the sizes of the splits. The images in them are not:
the published splits were drawn once from a state of the generator that nobody recorded. Ours are
drawn again at every reading, always with the same result, and never written, so that no file of
ours can be taken for a published one.
"""

from __future__ import annotations

import random
from pathlib import Path

from ...utils.text import listing
from ..dataset import SPLITS
from ..folders import class_folders, image_names
from .annotations import read_cars, read_flowers, read_pets, read_sun, read_ucf
from .catalog import Entry
from .lines import require
from .split_file import Rows, names_by_label

SEED = 0
TRAIN_SHARE, VAL_SHARE = 0.5, 0.2
"""Where the original has no test split; the rest, 30 %, is tested on."""
HELD_OUT_SHARE = 0.2
"""Of the original's training split, for validation."""

_WITH_TEST_SPLIT = {
    "oxford_pets": read_pets,
    "stanford_cars": read_cars,
    "sun397": read_sun,
    "ucf101": read_ucf,
}
_SKIPPED_FOLDERS = {"caltech101": ("BACKGROUND_Google", "Faces_easy")}
_RENAMED = {
    "caltech101": {
        "airplanes": "airplane",
        "Faces": "face",
        "Leopards": "leopard",
        "Motorbikes": "motorbike",
    },
    "eurosat": {
        "AnnualCrop": "Annual Crop Land",
        "HerbaceousVegetation": "Herbaceous Vegetation Land",
        "Highway": "Highway or Road",
        "Industrial": "Industrial Buildings",
        "Pasture": "Pasture Land",
        "PermanentCrop": "Permanent Crop Land",
        "Residential": "Residential Buildings",
        "SeaLake": "Sea or Lake",
    },
}


def draw_split(entry: Entry, folder: Path) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Return the rows (path, label, class name) of each split, and the class names by label.

    Raises:
        ValueError: images or annotations are missing or cannot be used, or a class has too few
            images to give some to every split.
    """
    if entry.name in _WITH_TEST_SPLIT:
        rest, test = _WITH_TEST_SPLIT[entry.name](folder, entry.source)
        splits = {**_divide(rest, {"val": HELD_OUT_SHARE}, "train", folder), "test": test}
    else:
        flowers = entry.name == "oxford_flowers"
        rows = read_flowers(folder, entry.source) if flowers else _read_folders(entry, folder)
        splits = _divide(rows, {"train": TRAIN_SHARE, "val": VAL_SHARE}, "test", folder)
    return {split: splits[split] for split in SPLITS}, names_by_label(splits, folder)


def _read_folders(entry: Entry, folder: Path) -> Rows:
    """One folder per class, labels in the order of their names."""
    images = require(folder / entry.images, entry.source)
    skipped = _SKIPPED_FOLDERS.get(entry.name, ())
    found = class_folders(images, f"unpack the images of {entry.source} there")
    new_names = _RENAMED.get(entry.name, {})
    return [
        (f"{name}/{image}", label, new_names.get(name, name))
        for label, name in enumerate(name for name in found if name not in skipped)
        for image in image_names(images / name)
    ]


def _divide(rows: Rows, shares: dict[str, float], last: str, folder: Path) -> dict[str, Rows]:
    """Shuffle each class and cut it by `shares`; the split `last` takes the rest."""
    generator = random.Random(SEED)
    by_label: dict[int, Rows] = {}
    for row in rows:
        by_label.setdefault(row[1], []).append(row)
    splits: dict[str, Rows] = {split: [] for split in (*shares, last)}
    for of_class in by_label.values():
        generator.shuffle(of_class)
        counts = [round(len(of_class) * share) for share in shares.values()]
        if not all(counts) or sum(counts) >= len(of_class):
            raise ValueError(
                f"{folder}: class {of_class[0][2]!r} has {len(of_class)} images, too few to draw "
                f"{listing(splits)} from; put the published split file there"
            )
        start = 0
        for split, count in zip(shares, counts, strict=True):
            splits[split] += of_class[start : start + count]
            start += count
        splits[last] += of_class[start:]
    return splits
