"""`folder:PATH`: one folder per split and class, named after the class.

PATH/train/<class>/*    PATH/test/<class>/*    PATH/val/<class>/* (optional)
"""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

from ...errors import UsageError
from ...utils.files import expand_home
from ...utils.text import listing
from ..dataset import ImageData
from ..example import Example
from ..folders import class_folders, read_class_folder
from ..prompts import DEFAULT_TEMPLATE

logger = logging.getLogger(__name__)


def read_folder(path: str | Path) -> ImageData:
    """Read classes from the sorted names of the folders in PATH/train, images by file name.

    Whatever is not an image, and all that lies deeper than the class folders, is left out; one
    warning counts and names it. A camera's orientation is applied.

    Raises:
        ValueError: PATH, its train or its test folder is missing, there are no class folders, one
            holds no image, or the classes of the splits do not match.
    """
    root = expand_home(path)
    if not root.is_dir():
        raise UsageError(f"folder {root} does not exist; give a folder that holds train and test")
    train, test = _class_folders(root / "train"), _class_folders(root / "test")
    val = _class_folders(root / "val") if (root / "val").is_dir() else []

    _require_known(root, "train", train, "test", test)
    _require_known(root, "test", test, "train", train)
    # A validation split may leave classes out: it is small, and no protocol trains on it.
    _require_known(root, "val", val, "train", train)

    label_of = {name: label for label, name in enumerate(train)}
    ignored: list[str] = []

    def examples(split: str, classes: list[str]) -> tuple[Example, ...]:
        found = []
        for name in classes:
            folder = read_class_folder(root / split / name)
            ignored.extend(f"{split}/{name}/{other}" for other in folder.ignored)
            found += [
                Example(image=root / split / name / image, label=label_of[name], upright=True)
                for image in folder.images
            ]
        return tuple(found)

    data = ImageData(
        spec=f"folder:{path}",
        class_names=tuple(train),
        template=DEFAULT_TEMPLATE,
        own_template=False,
        train=examples("train", train),
        val=examples("val", val),
        test=examples("test", test),
    )
    if ignored:
        files = "1 file" if len(ignored) == 1 else f"{len(ignored)} files"
        logger.warning("%s: ignored %s: %s", root, files, listing(ignored))
    return data


def _class_folders(split: Path) -> list[str]:
    if not split.is_dir():
        raise ValueError(
            f"no folder {split}; the layout is train/<class>/* and test/<class>/* "
            f"(and val/<class>/* if you like) in {split.parent}"
        )
    return class_folders(split, "put each class's images in one of its own")


def _require_known(
    root: Path, split: str, names: list[str], other: str, other_names: list[str]
) -> None:
    extra = sorted(set(names) - set(other_names))
    by_text = {_as_text(name): name for name in other_names if name not in names}
    for name in extra:
        if _as_text(name) in by_text:
            raise ValueError(
                f"{root}: the class folder {name!r} in {split} is {by_text[_as_text(name)]!r} in "
                f"{other}: they differ in upper and lower case, or in how an accented letter is "
                "encoded (Unicode form). Rename one of them"
            )
    if extra:
        raise ValueError(
            f"{root}: classes in {split} but not in {other}: {listing(extra)}; "
            f"add their folders to {other} or remove them from {split}"
        )


def _as_text(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
