"""`coop:NAME`: the field's folder layout with CoOp's split files, under one data root.

Layout: DATASETS.md of github.com/KaiyangZhou/CoOp. Split files: `split_file.py`.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from .base import Example, ImageData
from .messages import did_you_mean, listing
from .prompts import DEFAULT_TEMPLATE
from .split_file import read_split


@dataclass(frozen=True)
class _Layout:
    """Folder under the data root, image folder in it, split file in it, and the paper's prompt."""

    folder: str
    images: str
    split: str
    template: str = DEFAULT_TEMPLATE


# Prompts: Table 7 of the MMRL paper.
LAYOUTS = {
    "caltech101": _Layout("caltech-101", "101_ObjectCategories", "split_zhou_Caltech101.json"),
    "oxford_pets": _Layout(
        "oxford_pets",
        "images",
        "split_zhou_OxfordPets.json",
        "a photo of a {}, a type of pet.",
    ),
    "stanford_cars": _Layout("stanford_cars", ".", "split_zhou_StanfordCars.json"),
    "oxford_flowers": _Layout(
        "oxford_flowers",
        "jpg",
        "split_zhou_OxfordFlowers.json",
        "a photo of a {}, a type of flower.",
    ),
    "food101": _Layout(
        "food-101", "images", "split_zhou_Food101.json", "a photo of {}, a type of food."
    ),
    "sun397": _Layout("sun397", "SUN397", "split_zhou_SUN397.json"),
    "dtd": _Layout("dtd", "images", "split_zhou_DescribableTextures.json", "{} texture."),
    "eurosat": _Layout(
        "eurosat", "2750", "split_zhou_EuroSAT.json", "a centered satellite photo of {}."
    ),
    "ucf101": _Layout(
        "ucf101",
        "UCF-101-midframes",
        "split_zhou_UCF101.json",
        "a photo of a person doing {}.",
    ),
}
# "coop:food-101" means food101: by the general rule it would silently get another prompt.
_BY_FOLDER = {layout.folder: layout for layout in LAYOUTS.values()}
# Published prompts of data sets that have no split file in the field's layout.
_TEMPLATES = {"fgvc_aircraft": "a photo of a {}, a type of aircraft."}


def read_coop(name: str, data_root: str | Path | None) -> ImageData:
    """The data set NAME under `data_root`.

    The names in `LAYOUTS` have fixed places. Any other NAME is a folder of `data_root` with one
    file `split_*.json`; its image folder is the folder itself or one of its direct subfolders,
    whichever holds the first path listed. Only that path is looked up: `read_image` names any
    other image that is missing. "val" may be left out of a split file.

    Raises:
        ValueError: no `data_root`; a folder or file is missing; the split file is not in
            order (see `read_split`).
    """
    if data_root is None:
        raise UsageError(
            f"coop:{name} needs data_root (on the command line --data-root): the folder that "
            "holds the data sets' folders, such as caltech-101 and oxford_pets"
        )
    root = Path(os.path.expanduser(data_root))
    if not root.is_dir():
        raise UsageError(f"data_root {root} does not exist or is not a folder")

    layout = LAYOUTS.get(name) or _BY_FOLDER.get(name)
    folder = root / (layout.folder if layout else name)
    if not name or not folder.is_dir():
        raise UsageError(_missing_folder(name, folder, root))
    split_file = folder / layout.split if layout else _only_split_file(folder)
    if not split_file.is_file():
        raise ValueError(f"coop:{name}: no split file {split_file}; download it into {folder}")

    parts, class_names = read_split(split_file)
    first = next(rows[0][0] for rows in parts.values() if rows)
    image_folder = folder / layout.images if layout else _image_folder(folder, first)
    if not (image_folder / first).is_file():
        raise ValueError(
            f"coop:{name}: the first image of {split_file.name}, {image_folder / first}, does not "
            f"exist; unpack the images into {image_folder}"
        )
    examples = {
        part: tuple(Example(image=image_folder / path, label=label) for path, label, _ in rows)
        for part, rows in parts.items()
    }
    template = layout.template if layout else _TEMPLATES.get(name)
    return ImageData(
        spec=f"coop:{name}",
        class_names=class_names,
        template=template or DEFAULT_TEMPLATE,
        own_template=template is not None,
        **examples,
    )


def _missing_folder(name: str, folder: Path, root: Path) -> str:
    if name in LAYOUTS or name in _BY_FOLDER:
        return (
            f"coop:{name}: no folder {folder}; put the data set there (CoOp's DATASETS.md says how)"
        )
    present = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    return (
        f"coop:{name}: not a known name, nor a folder of {root}."
        f"{did_you_mean(name, [*LAYOUTS, *present])} Known: {listing(LAYOUTS, len(LAYOUTS))}; "
        f"folders there: {listing(present) or 'none'}"
    )


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
