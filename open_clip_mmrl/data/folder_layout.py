"""Where the class folders of `folder:PATH` are: in PATH itself, or in PATH/train and PATH/test."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..utils.text import counted, listing
from .folders import ClassFolder, ignored_note, look_into, no_images, require_text
from .image_file import SUFFIXES

logger = logging.getLogger(__name__)

_SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}


@dataclass(frozen=True)
class Layout:
    """The folders that hold the class folders of each split.

    Attributes:
        train: PATH itself where it is not divided; None where there is only a test split.
        test: None where a split has to be drawn.
        val: None where there is none.
        beside: folders that belong to no split.
    """

    train: Path | None
    test: Path | None = None
    val: Path | None = None
    beside: tuple[str, ...] = ()


@dataclass
class LeftOut:
    """What is ignored, for one message; `files` are paths from `root` on."""

    root: Path
    files: list[str] = field(default_factory=list)
    litter: int = 0
    empty: int = 0
    deeper: bool = False
    """Whether files lie in folders below class folders."""

    def add(self, folder: Path, found: ClassFolder) -> None:
        """Count what a folder holds besides images."""
        place = folder.relative_to(self.root).as_posix()
        self.files += [name if place == "." else f"{place}/{name}" for name in found.ignored]
        self.deeper |= any("/" in name for name in found.ignored)
        self.litter += found.litter

    def log(self) -> None:
        """Say what was ignored; a warning where it may have been meant."""
        note = ignored_note(self.root, self.files, self.litter, self.empty)
        if note:
            level = logging.WARNING if self.files else logging.INFO
            hint = ". With --nested, each folder that holds images is a class" * self.deeper
            logger.log(level, "%s%s", note, hint)


def find_layout(root: Path) -> Layout:
    """Return where the class folders are.

    Raises:
        UsageError: there is no such folder.
        ValueError: it holds no folders, two validation splits, or classes besides a split.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UsageError(
            f"folder {root} {what}; give a folder that holds one folder per class, or train and "
            "test with one per class in each"
        )
    top = look_into(root, below=False)
    if not top.folders:
        if not top.images:
            raise ValueError(f"{root} is empty: it holds no class folders")
        raise ValueError(
            f"{root} holds {counted(len(top.images), 'image')} but no class folders; put the "
            "images of each class into a folder of its own, named after the class"
        )
    named = {name: _SPLITS[key] for name in top.folders if (key := name.casefold()) in _SPLITS}
    others = tuple(name for name in top.folders if name not in named)
    inside = [look_into(root / name, below=False) for name in named]
    if others and all(found.images and not found.folders for found in inside):
        return Layout(train=root)  # "train" may be a class: bus, car, train
    folders: dict[str, Path] = {}
    for name, split in named.items():
        if split in folders:
            raise ValueError(
                f"{root} holds both {folders[split].name} and {name}, which are the same split; "
                "keep one of them"
            )
        folders[split] = root / name
    train, test, val = (folders.get(split) for split in ("train", "test", "val"))
    classes = [] if train and test else [name for name in others if _holds_images(root / name)]
    if classes:
        raise ValueError(
            f"{root} holds {listing(named)}, and images in other folders: {listing(classes)}. "
            "Put all class folders into PATH, or all into PATH/train and PATH/test"
        )
    if test is None and val is not None:
        logger.info("%s: there is no test, so that %s is the test split.", root, val.name)
        test, val = val, None
    return Layout(train, test, val, others)


def class_images(place: Path, left_out: LeftOut, *, nested: bool) -> dict[str, list[str]]:
    """Return the images of every class folder in `place`, both as sorted paths from there on.

    Args:
        place: the folder of the class folders.
        left_out: takes what is ignored.
        nested: each folder that holds images is a class, however deep it lies.

    Raises:
        ValueError: there are no class folders, or some without images but with other files.
    """
    top = look_into(place, below=False)
    left_out.add(place, top)
    left_out.files += [(place / name).relative_to(left_out.root).as_posix() for name in top.images]
    found: dict[str, list[str]] = {}
    deeper, bare = [], {}
    waiting, seen = list(top.folders), {place.resolve()}
    while waiting:
        name = waiting.pop()
        folder = place / name
        if nested and folder.resolve() in seen:  # a link to a folder above it
            continue
        seen.add(folder.resolve())
        inside = look_into(folder, below=not nested)
        if nested:
            waiting += [f"{name}/{one}" for one in inside.folders]
        if inside.images:
            found[name] = [f"{name}/{image}" for image in inside.images]
        elif inside.ignored:
            bare[name] = inside.ignored
            if any(Path(file).suffix.lower() in SUFFIXES for file in inside.ignored):
                deeper.append(name)
        elif not (nested and inside.folders):
            left_out.empty += 1
        left_out.add(folder, inside)
    require_text(place, found)
    if deeper and not nested:
        where = f"; or did you mean folder:{place / deeper[0]}?" if len(top.folders) == 1 else "."
        raise ValueError(
            f"{place}: images only in folders below: {listing(sorted(deeper))}; with --nested "
            f"each folder that holds images is a class{where}"
        )
    if bare and not nested:
        name = min(bare)
        more = f" So with {len(bare) - 1} more." if len(bare) > 1 else ""
        raise ValueError(f"{no_images(place / name, bare[name])}.{more}")
    if not found:
        raise ValueError(
            f"{place} holds no class folders; put each class's images in one of its own"
        )
    return dict(sorted(found.items()))


def _holds_images(folder: Path) -> bool:
    found = look_into(folder)
    below = (Path(file).suffix.lower() in SUFFIXES for file in found.ignored)
    return bool(found.images) or any(below)
