"""The labels of five data sets in their authors' own files, with CoOp's class names.

Each reader returns rows (path below the image folder, label, class name): those of the training
split and those of the test split, if the authors have one. Files and formats are those of the data
sets' home pages.
"""

from __future__ import annotations

import faulthandler
import re
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any

import numpy as np

from ...utils.files import read_json
from .lines import read_lines, require
from .split_file import Rows

_COMPRESSED = (b"\x0f\0\0\0", b"\0\0\0\x0f")
"""What follows the header of 128 bytes, in both byte orders."""


def read_pets(folder: Path, source: str) -> tuple[Rows, Rows]:
    """Read annotations/{trainval,test}.txt: "Abyssinian_100 1 1 1" (image, class from 1, ...).

    Raises:
        ValueError: a file is missing, or a line cannot be read.
    """

    def rows(name: str) -> Rows:
        lines = read_lines(
            folder / "annotations" / name,
            r"(\S+)_(\d+) ([1-9]\d{0,8}) \d+ \d+",
            "Abyssinian_100 1 1 1",
            source,
        )
        return [
            (f"{breed}_{number}.jpg", int(label) - 1, breed.lower())
            for _, (breed, number, label) in lines
        ]

    return rows("trainval.txt"), rows("test.txt")


def read_cars(folder: Path, source: str) -> tuple[Rows, Rows]:
    """Read devkit/{cars_meta,cars_train_annos}.mat and cars_test_annos_withlabels.mat.

    Class names have the year first: "2012 Tesla Model S Sedan".

    Raises:
        ValueError: a file is missing or cannot be read, or a label is not in cars_meta.mat.
    """
    meta = _read_mat(folder / "devkit" / "cars_meta.mat", "class_names", source)
    names = [_year_first(str(name)) for name in meta]

    def rows(path: Path, images: str) -> Rows:
        found = []
        for index, entry in enumerate(_read_mat(path, "annotations", source)):
            where = f"{path}: annotations[{index}]"
            fields = entry.dtype.names if isinstance(entry, np.void | np.ndarray) else None
            if not {"class", "fname"} <= set(fields or ()):
                raise ValueError(f"{where} has no class and fname")
            label = _whole_number(entry["class"], where)
            if not 1 <= label <= len(names):
                raise ValueError(
                    f"{where} is of class {label}; cars_meta.mat names 1 to {len(names)}"
                )
            found.append((f"{images}/{entry['fname']}", label - 1, names[label - 1]))
        return found

    train = rows(folder / "devkit" / "cars_train_annos.mat", "cars_train")
    return train, rows(folder / "cars_test_annos_withlabels.mat", "cars_test")


def read_flowers(folder: Path, source: str) -> Rows:
    """Read imagelabels.mat (classes from 1, one per image) and cat_to_name.json; no splits.

    Raises:
        ValueError: a file is missing or cannot be read, or a class has no name.
    """
    annotated = folder / "imagelabels.mat"
    labels = _read_mat(annotated, "labels", source)
    path = require(folder / "cat_to_name.json", "github.com/KaiyangZhou/CoOp, DATASETS.md")
    name_of = read_json(path)
    if not isinstance(name_of, dict):
        raise ValueError(f'{path} holds a {type(name_of).__name__}, not {{"1": "pink primrose"}}')
    found = []
    for number, value in enumerate(labels, start=1):
        label = _whole_number(value, f"{annotated}: image {number}")
        name = name_of.get(str(label))
        if not isinstance(name, str):
            raise ValueError(
                f"{path} has no name for class {label}, that of image {number} in {annotated}"
            )
        found.append((f"image_{number:05d}.jpg", label - 1, name))
    return found


def read_sun(folder: Path, source: str) -> tuple[Rows, Rows]:
    """Read ClassName.txt ("/c/church/indoor", by label), Training_01.txt and Testing_01.txt.

    Class names have the last word first: "indoor church".

    Raises:
        ValueError: a file is missing, a line cannot be read, or names a class that is not listed.
    """
    classes = folder / "ClassName.txt"
    lines = read_lines(classes, r"/(\w/.+)", "/c/church/indoor", source)
    label_of = {name: label for label, (_, (name,)) in enumerate(lines)}

    def rows(name: str) -> Rows:
        found = []
        shape = "/c/church/indoor/sun_abc.jpg"
        for where, (category, image) in read_lines(
            folder / name, r"/(\w/.+)/([^/]+)", shape, source
        ):
            _require_known(where, category, label_of, classes)
            class_name = " ".join(reversed(category.split("/")[1:]))
            found.append((f"{category}/{image}", label_of[category], class_name))
        return found

    return rows("Training_01.txt"), rows("Testing_01.txt")


def read_ucf(folder: Path, source: str) -> tuple[Rows, Rows]:
    """Read ucfTrainTestlist/{classInd,trainlist01,testlist01}.txt, for the middle frames.

    The frame of "BabyCrawling/v_BabyCrawling_g01_c01.avi" is
    Baby_Crawling/v_BabyCrawling_g01_c01.jpg; the class name is the folder's.

    Raises:
        ValueError: a file is missing, a line cannot be read, or names a class that is not listed.
    """
    lists = folder / "ucfTrainTestlist"
    classes = lists / "classInd.txt"
    lines = read_lines(classes, r"([1-9]\d{0,8}) (\w+)", "4 BabyCrawling", source)
    label_of = {name: int(label) - 1 for _, (label, name) in lines}

    def rows(name: str) -> Rows:
        found = []
        pattern, shape = r"(\w+)/(\S+)\.avi(?: \d+)?", "BabyCrawling/v_BabyCrawling_g01_c01.avi 4"
        for where, (action, video) in read_lines(lists / name, pattern, shape, source):
            _require_known(where, action, label_of, classes)
            words = "_".join(re.findall("[A-Z][^A-Z]*", action))
            found.append((f"{words}/{video}.jpg", label_of[action], words))
        return found

    return rows("trainlist01.txt"), rows("testlist01.txt")


def _require_known(where: str, name: str, known: dict[str, int], classes: Path) -> None:
    if name not in known:
        raise ValueError(f"{where}: {name!r} is not in {classes}")


def _whole_number(value: Any, where: str) -> int:
    """Return an array's element as an integer; ValueError with the place if it is none."""
    try:
        number = float(value)  # MATLAB's numbers are
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer():
        raise ValueError(f"{where} has the class {value!r:.40}, not a whole number")
    return int(number)


def _year_first(name: str) -> str:
    model, _, year = name.rpartition(" ")
    return f"{year} {model}".strip()


def _read_mat(path: Path, key: str, source: str) -> Any:
    """Read one array of a MATLAB file, flat.

    Raises:
        ValueError: the file is missing or damaged, or has no such array.
    """
    from scipy.io import loadmat

    require(path, source)
    try:
        if _crashes(loadmat, path):
            raise ValueError("it is damaged: SciPy's reader ends the whole program")
        content = loadmat(path, squeeze_me=True)
    except Exception as error:  # what a damaged file raises depends on where the damage is
        raise ValueError(f"{path} cannot be read ({error}); get it from {source}") from error
    if key not in content:
        raise ValueError(f"{path} has no array {key!r}; get it from {source}")
    return np.atleast_1d(content[key]).ravel()


def _crashes(read: Callable[[Path], Any], path: Path) -> bool:
    """Return whether SciPy's reader, in C, crashes on a file, tried in a process of its own.

    Not of compressed files, as MATLAB writes them: these have checksums.
    """
    with path.open("rb") as file:
        compressed = file.read(132)[128:] in _COMPRESSED
    if compressed or "fork" not in get_all_start_methods():  # Windows: not tried
        return False

    def attempt() -> None:
        faulthandler.disable()
        with suppress(Exception):
            read(path)

    child = get_context("fork").Process(target=attempt)
    child.start()
    child.join()
    return (child.exitcode or 0) < 0
