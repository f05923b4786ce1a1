"""Splits drawn here, where the published `split_zhou_*.json` is not there.

Shares and class names are CoOp's, and so are the sizes of the parts. The images in them are not:
the published splits were drawn once from a state of the generator that nobody recorded. Ours are
drawn anew at every reading, always alike, and never written, so that no file of ours can be taken
for a published one.
"""

from __future__ import annotations

import random
from pathlib import Path

from ...utils.text import listing
from .annotations import read_cars, read_flowers, read_pets, read_sun, read_ucf
from .catalog import Entry
from .split_file import Rows, names_by_label
from .tree import class_folders, image_names

SEED = 0
TRAIN_SHARE, VAL_SHARE = 0.5, 0.2
"""Where the original has no test part; the rest, 30 %, is tested on."""
HELD_OUT_SHARE = 0.2
"""Of the original's training part, for validation."""

_DIVIDED = {
    "oxford_pets": read_pets,
    "stanford_cars": read_cars,
    "sun397": read_sun,
    "ucf101": read_ucf,
}
_PASSED_OVER = {"caltech101": ("BACKGROUND_Google", "Faces_easy")}
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
    """The rows (path, label, class name) of the three parts, and the class names by label.

    Raises:
        ValueError: images or annotations are missing or not in order, or a class has too few
            images to give some to every part.
    """
    if entry.name in _DIVIDED:
        rest, test = _DIVIDED[entry.name](folder, entry.source)
        parts = {**_divide(rest, {"val": HELD_OUT_SHARE}, "train", folder), "test": test}
    else:
        flowers = entry.name == "oxford_flowers"
        rows = read_flowers(folder, entry.source) if flowers else _read_folders(entry, folder)
        parts = _divide(rows, {"train": TRAIN_SHARE, "val": VAL_SHARE}, "test", folder)
    return {part: parts[part] for part in ("train", "val", "test")}, names_by_label(parts, folder)


def _read_folders(entry: Entry, folder: Path) -> Rows:
    """One folder per class, labels in the order of their names."""
    images = folder / entry.images
    passed_over = _PASSED_OVER.get(entry.name, ())
    found = [name for name in class_folders(images, entry.source) if name not in passed_over]
    new_names = _RENAMED.get(entry.name, {})
    return [
        (f"{name}/{image}", label, new_names.get(name, name))
        for label, name in enumerate(found)
        for image in image_names(images / name)
    ]


def _divide(rows: Rows, shares: dict[str, float], last: str, folder: Path) -> dict[str, Rows]:
    """Each class shuffled and cut by `shares`; the part `last` takes the rest."""
    generator = random.Random(SEED)
    by_label: dict[int, Rows] = {}
    for row in rows:
        by_label.setdefault(row[1], []).append(row)
    parts: dict[str, Rows] = {part: [] for part in (*shares, last)}
    for of_class in by_label.values():
        generator.shuffle(of_class)
        counts = [round(len(of_class) * share) for share in shares.values()]
        if not all(counts) or sum(counts) >= len(of_class):
            raise ValueError(
                f"{folder}: class {of_class[0][2]!r} has {len(of_class)} images, too few to draw "
                f"{listing(parts)} from; put the published split file there"
            )
        start = 0
        for part, count in zip(shares, counts, strict=True):
            parts[part] += of_class[start : start + count]
            start += count
        parts[last] += of_class[start:]
    return parts
