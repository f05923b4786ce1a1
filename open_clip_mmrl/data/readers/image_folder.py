"""`folder:PATH`: one folder per part and class, named after the class.

PATH/train/<class>/*    PATH/test/<class>/*    PATH/val/<class>/* (optional)
"""

import os
from pathlib import Path

from ...errors import UsageError
from ...utils.text import listing
from ..dataset import Example, ImageData
from ..prompts import DEFAULT_TEMPLATE

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)


def read_folder(path: str | Path) -> ImageData:
    """Classes are the sorted names of the folders in PATH/train; images are sorted by file name.

    Hidden files and files without the suffix of an image are passed over, and so is anything
    deeper than the class folders.

    Raises:
        ValueError: PATH, its train or its test folder is missing, there are no class folders, one
            holds no image, or the classes of the parts do not match.
    """
    root = Path(os.path.expanduser(path))
    if not root.is_dir():
        raise UsageError(f"folder {root} does not exist; give a folder that holds train and test")
    train = _class_folders(root / "train")
    test = _class_folders(root / "test")
    val = _class_folders(root / "val") if (root / "val").is_dir() else {}

    _require_same_classes(root, "train", train, "test", test)
    _require_same_classes(root, "test", test, "train", train)
    # A validation part may leave classes out: it is small, and no protocol trains on it.
    _require_same_classes(root, "val", val, "train", train)

    label_of = {name: label for label, name in enumerate(train)}

    def examples(folders: dict[str, Path]) -> tuple[Example, ...]:
        return tuple(
            Example(image=image, label=label_of[name])
            for name, folder in folders.items()
            for image in _images(folder)
        )

    return ImageData(
        spec=f"folder:{path}",
        class_names=tuple(train),
        template=DEFAULT_TEMPLATE,
        own_template=False,
        train=examples(train),
        val=examples(val),
        test=examples(test),
    )


def _class_folders(part: Path) -> dict[str, Path]:
    """Class name -> folder, sorted by name."""
    if not part.is_dir():
        raise ValueError(
            f"no folder {part}; the layout is train/<class>/* and test/<class>/* "
            f"(and val/<class>/* if you like) in {part.parent}"
        )
    folders = {
        entry.name: entry
        for entry in sorted(part.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    }
    if not folders:
        raise ValueError(
            f"{part} holds no class folders; put each class's images in one of its own"
        )
    return folders


def _images(folder: Path) -> list[Path]:
    files = sorted(
        entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")
    )
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        found = (
            f"has files but none is an image ({listing(sorted(IMAGE_SUFFIXES), 10)})"
            if files
            else "is empty"
        )
        raise ValueError(f"class folder {folder} {found}; add images or remove the folder")
    return images


def _require_same_classes(
    root: Path, part: str, names: dict[str, Path], other: str, other_names: dict[str, Path]
) -> None:
    extra = [name for name in names if name not in other_names]
    if extra:
        raise ValueError(
            f"{root}: classes in {part} but not in {other}: {listing(extra)}; "
            f"add their folders to {other} or remove them from {part}"
        )
