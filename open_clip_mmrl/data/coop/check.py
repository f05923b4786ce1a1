"""Which of the paper's fifteen data sets are on disk, what is missing, and whether sizes agree.

Images are looked up by name, folder by folder; none is opened.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..dataset import SPLITS, ImageData
from .catalog import CATALOG, Entry, find_entry
from .imagenet import changed_names, naming_note
from .read import SplitOrigin, existing_root, read_coop, split_origin

State = Literal["present", "incomplete", "missing"]
Sizes = dict[str, int | bool | None]
"""Counts by "classes", "train", "val", "test"; and "paper_split", see `sizes`."""


@dataclass(frozen=True, kw_only=True)
class DatasetCheck:
    """The state of one data set.

    Attributes:
        name: what follows `coop:`.
        state: "present" where every image that is listed is there; "missing" where there is no
            folder of it; "incomplete" for anything between.
        origin, sizes: see `split_origin` and `sizes`; None where it could not be read.
        absent: missing files and folders, relative to the data root.
        problem: why it is incomplete, in a sentence.
        notes: how it differs from the published data, though it can be used.
    """

    name: str
    state: State
    origin: SplitOrigin | None = None
    sizes: Sizes | None = None
    absent: tuple[str, ...] = ()
    problem: str | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, and under "paper" the paper's counts."""
        return {**asdict(self), "paper": CATALOG[self.name].sizes}


def check(data_root: str | Path) -> list[DatasetCheck]:
    """Check the fifteen data sets below `data_root`, in the paper's order.

    Raises:
        ValueError: `data_root` is not a folder. What is wrong with a data set is not raised.
    """
    root = existing_root("NAME", data_root)
    return [_check(entry, root) for entry in CATALOG.values()]


def sizes(data: ImageData, name: str, data_root: str | Path | None = None) -> Sizes:
    """Return the counts of a data set as it was loaded, before `few_shot` and `select`.

    Returns:
        "classes", "train", "val", "test", and "paper_split": False where the counts are not the
        paper's or the split was drawn here, True where neither holds, None where it is unknown:
        a `name` that is not in the catalog, the base or novel classes alone, or, without
        `data_root`, a split that may have been drawn.
    """
    found = {"classes": data.num_classes, **{split: len(data.split(split)) for split in SPLITS}}
    entry = find_entry(name)
    if entry is None or data.classes != "all":
        return {**found, "paper_split": None}
    if found != entry.sizes:
        return {**found, "paper_split": False}
    if entry.labels != "split file":
        return {**found, "paper_split": True}
    if data_root is None:
        return {**found, "paper_split": None}
    return {**found, "paper_split": split_origin(name, data_root) != "drawn"}


def _check(entry: Entry, root: Path) -> DatasetCheck:
    absent = tuple(place for place in entry.places if not (root / place).exists())
    if not (root / entry.folder).is_dir():
        return DatasetCheck(name=entry.name, state="missing", absent=absent)
    try:
        data = read_coop(entry.name, root)
        origin = split_origin(entry.name, root)
        found = sizes(data, entry.name, root)
        problem = None if origin == "folders" else _absent_images(data, root)
    except (ValueError, OSError) as error:
        return DatasetCheck(name=entry.name, state="incomplete", absent=absent, problem=str(error))
    return DatasetCheck(
        name=entry.name,
        state="incomplete" if problem else "present",
        origin=origin,
        sizes=found,
        absent=absent,
        problem=problem,
        notes=_notes(entry, origin, root, data),
    )


def _notes(entry: Entry, origin: SplitOrigin, root: Path, data: ImageData) -> tuple[str, ...]:
    if origin == "drawn":
        return (
            f"not the paper's split: drawn here, since {entry.places[-1]} is not there "
            "(github.com/KaiyangZhou/CoOp, DATASETS.md, links it)",
        )
    if origin != "folders":
        return ()
    note = naming_note(entry.name, changed_names(entry, root, data.class_names))
    return (note,) if note else ()


def _absent_images(data: ImageData, root: Path) -> str | None:
    """Count the images listed that are not there, and name the first."""
    images = [example.image for split in SPLITS for example in data.split(split)]
    paths = [image for image in images if isinstance(image, Path)]
    there: dict[Path, set[str]] = {}
    for path in paths:
        if path.parent not in there:
            exists = path.parent.is_dir()
            there[path.parent] = (
                {file.name for file in os.scandir(path.parent)} if exists else set()
            )
    absent = [path for path in paths if path.name not in there[path.parent]]
    if not absent:
        return None
    return (
        f"{len(absent)} of the {len(paths)} images listed are not there, the first is "
        f"{os.path.relpath(absent[0], root)}"
    )
