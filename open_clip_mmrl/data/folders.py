"""Folders of images by class: which class folders there are, and which images they hold.

Folders are listed with `os.scandir`, which asks the system once per folder and not once per file:
ImageNet has 1.3 million files. A file is opened only where its suffix does not tell what it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..utils.text import counted, listing, printable
from .image_file import SUFFIXES, is_image

_LITTER = ("thumbs.db", "desktop.ini", "__macosx")
"""What file managers leave behind, in lower case; not worth a word, nor are hidden files."""


@dataclass(frozen=True)
class ClassFolder:
    """The sorted file names of a class folder's images, and what else is there.

    Attributes:
        images: file names.
        ignored: other files, also those in folders below it.
        folders: names of the folders in it.
        litter: number of hidden files and of those that file managers leave behind.
    """

    images: list[str]
    ignored: list[str]
    folders: list[str]
    litter: int


def class_folders(folder: Path, remedy: str) -> list[str]:
    """Return the sorted names of the folders in `folder`; files and hidden folders are skipped.

    Raises:
        ValueError: it holds none; the message ends with `remedy`. Or a name is not text.
    """
    with os.scandir(folder) as entries:
        found = sorted(e.name for e in entries if not is_litter(e.name) and _holds(e.is_dir))
    if not found:
        raise ValueError(f"{folder} holds no class folders; {remedy}")
    require_text(folder, found)
    return found


def require_text(folder: Path, names: Iterable[str]) -> None:
    """Raise a ValueError that lists the folder names that are no text."""
    unreadable = [name for name in names if not _is_text(name)]
    if unreadable:
        raise ValueError(
            f"{folder}: folder names that are not UTF-8 text: "
            f"{listing(map(printable, unreadable))}; rename them, since they are the class names"
        )


def image_names(folder: Path) -> list[str]:
    """Return the sorted file names of the images in a class folder; see `read_class_folder`."""
    return read_class_folder(folder).images


def read_class_folder(folder: Path) -> ClassFolder:
    """Return the images in a class folder, and everything in it that is none; see `look_into`.

    Raises:
        ValueError: it holds no image.
    """
    found = look_into(folder)
    if not found.images:
        raise ValueError(no_images(folder, found.ignored))
    return found


def no_images(folder: Path, ignored: Sequence[str]) -> str:
    """Return what to say of a class folder without images."""
    others = f", only {listing(ignored, 3)}" if ignored else ""
    return f"class folder {folder} holds no images{others}; add them, or remove the folder"


def look_into(folder: Path, *, below: bool = True) -> ClassFolder:
    """Return the images in a folder, and everything in it that is none.

    An image has one of the usual suffixes (`image_file.SUFFIXES`), in capitals or not, or no known
    suffix and the content of an image. Hidden files are neither.

    Args:
        folder: the folder.
        below: count files in the folders below it as ignored.
    """
    images, ignored, folders, litter = [], [], [], 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_litter(entry.name):
                litter += 1
            elif _is_image(entry):
                images.append(entry.name)
            else:
                is_folder = _holds(entry.is_dir)
                folders += [entry.name] * is_folder
                ignored += _what_is_left_out(entry) if below or not is_folder else []
    return ClassFolder(sorted(images), sorted(ignored), sorted(folders), litter)


@dataclass(frozen=True)
class FolderImages:
    """All images in a folder and in the folders below it, sorted, and what else is there."""

    images: list[Path]
    ignored: list[str]
    """Files that are no images, and folders that cannot be read, from the folder on."""
    hidden: int
    """Hidden files and folders, and those that file managers leave behind."""


def images_below(folder: Path) -> FolderImages:
    """Return the images in a folder and in all folders below it; each folder is listed once."""
    images, ignored, hidden = list[Path](), list[str](), 0
    pending, listed = [folder], set[tuple[int, int]]()
    while pending:
        current = pending.pop()
        inside = printable(str(current.relative_to(folder)))
        try:
            place = current.stat()
            if (place.st_dev, place.st_ino) in listed:  # links in a circle
                continue
            listed.add((place.st_dev, place.st_ino))
            found = look_into(current, below=False)
        except OSError as error:
            ignored.append(f"{inside} ({error.strerror or error})")
            continue
        images += [current / name for name in found.images]
        ignored += [str(Path(inside, name)) for name in found.ignored]
        pending += [current / name for name in found.folders]
        hidden += found.litter
    return FolderImages(sorted(images), sorted(ignored), hidden)


def ignored_note(folder: Path, files: Sequence[str], litter: int, empty: int = 0) -> str:
    """Return what was ignored in a folder, in one line; "" for nothing.

    Args:
        folder: the folder.
        files: those that are not taken.
        litter: number of hidden files and of those that file managers leave behind.
        empty: number of empty folders.
    """
    found = [
        (litter, counted(litter, "hidden or system file")),
        (empty, counted(empty, "empty folder")),
        (len(files), f"{counted(len(files), 'file')}: {listing(files)}"),
    ]
    parts = [text for count, text in found if count]
    return f"{folder}: ignored {' and '.join(parts)}" if parts else ""


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_litter(name: str) -> bool:
    """Return whether a file or folder is hidden, or left behind by a file manager."""
    return name.startswith(".") or name.lower() in _LITTER


def _is_image(entry: os.DirEntry[str]) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122  (a Path costs 2 µs)
    return _holds(entry.is_file) and (suffix in SUFFIXES or is_image(Path(entry.path)))


def _what_is_left_out(entry: os.DirEntry[str]) -> list[str]:
    """Return a file's path from the class folder on; of a folder, those of all files below it."""
    name = printable(entry.name)
    if entry.is_symlink() and not Path(entry.path).exists():
        return [f"{name} (a broken link)"]
    if not entry.is_dir():
        return [name]
    below = [
        Path(folder, file).relative_to(entry.path)
        for folder, _, files in os.walk(entry.path)
        for file in files
        if not is_litter(file)
    ]
    return [f"{name}/{printable(str(path))}" for path in below]


def _holds(question: Callable[[], bool]) -> bool:
    """Ask a folder's entry; the answer for links in a circle is no."""
    try:
        return question()
    except OSError:
        return False
