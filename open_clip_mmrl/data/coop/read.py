"""`coop:NAME`: data sets in the CoOp layout, under one data root.

The paper's fifteen data sets have fixed places (`catalog.py`). Any other NAME is a folder with a
split file of its own.
"""

from pathlib import Path
from typing import Literal

from ...errors import UsageError
from ...utils.files import expand_home
from ...utils.text import did_you_mean, listing
from ..dataset import ImageData
from ..example import Example
from ..prompts import DEFAULT_TEMPLATE
from .aircraft import read_aircraft
from .catalog import CATALOG, Entry, find_entry
from .drawn_splits import draw_split
from .imagenet import read_imagenet
from .split_file import Rows, read_split_file

SplitOrigin = Literal["published file", "drawn", "folders"]


def read_coop(name: str, data_root: str | Path | None) -> ImageData:
    """Read the data set NAME under `data_root`.

    A data set of the catalog whose `split_zhou_*.json` is missing gets a split drawn here (see
    `drawn_splits` and `split_origin`). Any other NAME is a folder of `data_root` with one file
    `split_*.json`; its image folder is the folder itself or one of its direct subfolders,
    whichever holds the first path listed. Of images that a file lists, only the first is looked
    up: `read_image` names any other that is missing. "val" may be left out of a split file.

    Raises:
        ValueError: no `data_root`; a folder or file is missing or cannot be used; see
            `read_split_file`, `draw_split`, `read_aircraft` and `read_imagenet`.
    """
    root = existing_root(name, data_root)
    entry = find_entry(name)
    if entry is not None and entry.labels == "folders":
        _existing_folder(entry, root)
        splits, class_names = read_imagenet(entry, root)
    else:
        rows, class_names, images = _listed(entry, root) if entry else _read_own(name, root)
        splits = {
            split: tuple(Example(image=images / path, label=label) for path, label, _ in listed)
            for split, listed in rows.items()
        }
    return ImageData(
        spec=f"coop:{name}",
        class_names=class_names,
        template=entry.template if entry else DEFAULT_TEMPLATE,
        own_template=entry is not None,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
    )


def split_origin(name: str, data_root: str | Path | None) -> SplitOrigin:
    """Return where the splits of a data set of the catalog come from.

    "published file": its split file, or its authors' lists. "folders": the folders its images are
    in. "drawn": neither is there, and the split is drawn here; it is not the one of published
    results.

    Raises:
        ValueError: not a data set of the catalog, or its folder is missing.
    """
    root = existing_root(name, data_root)
    entry = find_entry(name)
    if entry is None:
        raise UsageError(
            f"coop:{name} is not one of the paper's data sets.{did_you_mean(name, CATALOG)} "
            f"They are: {listing(CATALOG, len(CATALOG))}"
        )
    if entry.labels == "folders":
        return "folders"
    return "published file" if _split_file(entry, _existing_folder(entry, root)) else "drawn"


def existing_root(name: str, data_root: str | Path | None) -> Path:
    """Return the data root; UsageError if there is none."""
    if not data_root:
        known = find_entry(name) or not (near := did_you_mean(name, CATALOG))
        typo = "" if known else f"coop:{name} is not one of the paper's data sets.{near} "
        raise UsageError(
            f"{typo}coop:{name} needs data_root (on the command line --data-root): the folder that "
            "holds the data sets' folders, such as caltech-101 and oxford_pets"
        )
    root = expand_home(data_root)
    if not root.is_dir():
        raise UsageError(f"data_root {root} does not exist or is not a folder")
    return root


def _existing_folder(entry: Entry, root: Path) -> Path:
    folder = root / entry.folder
    if not folder.is_dir():
        raise UsageError(
            f"coop:{entry.name}: no folder {folder}; put {entry.title} there, from {entry.source} "
            f"(in it: {listing(entry.places)}; github.com/KaiyangZhou/CoOp, DATASETS.md has steps)"
        )
    return folder


def _split_file(entry: Entry, folder: Path) -> Path | None:
    """Return the file that the split is read from; None where it has to be drawn."""
    file = folder / entry.files[-1]
    return file if entry.labels == "lists" or file.is_file() else None


def _listed(entry: Entry, root: Path) -> tuple[dict[str, Rows], tuple[str, ...], Path]:
    """Rows, class names and image folder of a data set of the catalog whose images are listed."""
    folder = _existing_folder(entry, root)
    split_file = _split_file(entry, folder)
    if entry.labels == "lists":
        rows, class_names = read_aircraft(entry, folder)
    elif split_file:
        rows, class_names = read_split_file(split_file)
    else:
        rows, class_names = draw_split(entry, folder)
    images = folder / entry.images
    if not (images / _first(rows)).is_file():
        raise ValueError(
            f"coop:{entry.name}: the first image listed, {images / _first(rows)}, does not exist; "
            f"unpack the images of {entry.source} into {images}"
        )
    return rows, class_names, images


def _read_own(name: str, root: Path) -> tuple[dict[str, Rows], tuple[str, ...], Path]:
    """Rows, class names and image folder of a data set that is not in the catalog."""
    folder = root / name
    if not folder.is_dir():
        present = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise UsageError(
            f"coop:{name}: not a known name, nor a folder of {root}."
            f"{did_you_mean(name, [*CATALOG, *present])} Known: {listing(CATALOG, len(CATALOG))}; "
            f"folders there: {listing(present) or 'none'}"
        )
    rows, class_names = read_split_file(_only_split_file(folder))
    return rows, class_names, _image_folder(folder, _first(rows))


def _first(rows: dict[str, Rows]) -> str:
    return next(listed[0][0] for listed in rows.values() if listed)


def _only_split_file(folder: Path) -> Path:
    found = sorted(folder.glob("split_*.json"))
    if len(found) != 1:
        names = f"{len(found)}: {listing(file.name for file in found)}" if found else "none"
        raise ValueError(f"{folder} must hold exactly one file split_*.json; it holds {names}")
    return found[0]


def _image_folder(folder: Path, first: str) -> Path:
    candidates = [folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]
    found = [candidate for candidate in candidates if (candidate / first).is_file()]
    if not found:
        raise ValueError(
            f"the first image of the split file, {first}, is neither in {folder} nor in one of "
            f"its folders ({listing(entry.name for entry in candidates[1:]) or 'it has none'})"
        )
    if len(found) > 1:
        raise ValueError(
            f"the first image of the split file, {first}, is in more than one folder: "
            f"{listing(found)}; keep the one to use"
        )
    return found[0]
