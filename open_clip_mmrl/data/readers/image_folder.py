"""`folder:PATH`: one folder per class, named after it.

PATH/<class>/*, or PATH/train/<class>/*, or with it PATH/test/<class>/* and PATH/val/<class>/*
(`valid` and `validation` are val too). Without test and val a test split is drawn.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UsageError
from ...utils.files import expand_home
from ...utils.text import listing, nfc
from ..class_names import known_names, renamed
from ..copies import Images, warn_of_shared
from ..dataset import ImageData
from ..example import Example
from ..folder_layout import Layout, LeftOut, class_images, find_layout
from ..prompts import DEFAULT_TEMPLATE, readable
from ..test_split import (
    TEST_FRACTION,
    DrawnSplit,
    checked_fraction,
    draw_split,
    test_part,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What an adapter that is to be scored was trained on.

    Attributes:
        split: the split that was drawn for its training; None where none was.
        class_names: its class names by folder name, where they differ.
    """

    split: DrawnSplit | None = None
    class_names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How a folder is read.

    Attributes:
        nested: each folder that holds images is a class, however deep; by its last name, or by
            its path where several have this name.
        test_fraction: share of each class's images to draw for testing; None: `TEST_FRACTION`
            where the folder has no test split.
        class_names: by folder name; every folder needs one.
        trained: given where an adapter is scored and nothing is trained: then a folder without a
            split is tested whole, but for the images that the adapter was trained on.
    """

    nested: bool = False
    test_fraction: float | None = None
    class_names: Mapping[str, str] | None = None
    trained: Trained | None = None

    def __post_init__(self) -> None:
        if self.test_fraction is not None:
            checked_fraction(self.test_fraction)


def read_folder(path: str | Path, options: FolderOptions | None = None) -> ImageData:
    """Read classes from the sorted names of the class folders, images by file name.

    Whatever is not an image is left out; one message counts it. A camera's orientation is applied.

    Raises:
        UsageError: PATH is no folder, or the options do not fit it.
        ValueError: there are no class folders, one holds no image but other files, the classes of
            the splits do not match, or a class has too few images to draw a test split.
    """
    options = options or FolderOptions()
    root = expand_home(path)
    layout, left_out = find_layout(root), LeftOut(root)
    places = {"train": layout.train, "test": layout.test, "val": layout.val}
    images = {
        split: class_images(place, left_out, nested=options.nested)
        for split, place in places.items()
        if place is not None
    }
    left_out.files += [f"{name}/" for name in layout.beside]
    # A validation split may leave classes out: it is small, and no protocol trains on it.
    for one, other in (("train", "test"), ("test", "train"), ("val", "train")):
        if one in images and other in images:
            _require_known(root, places[one], images[one], places[other], images[other])
    classes = list(images["train" if "train" in images else "test"])
    names = _class_names(classes, options)
    drawn = None
    if layout.test is not None:
        if options.test_fraction is not None:
            raise UsageError(
                f"{root} has a test split of its own, {layout.test.name}: leave out the test "
                "fraction, with which one is drawn"
            )
        warn_of_shared(root, {s: _below(root, places[s], i) for s, i in images.items()})
    elif len(classes) > 1:  # else ImageData says what is wrong
        drawn, images = _divided(layout, images["train"], options)
        places["test"] = layout.train
    label_of = {name: label for label, name in enumerate(classes)}

    def examples(split: str) -> tuple[Example, ...]:
        place = places[split] or root
        return tuple(
            Example(image=place / path, label=label_of[name], upright=True)
            for name, paths in images.get(split, {}).items()
            for path in paths
        )

    data = ImageData(
        spec=f"folder:{path}",
        class_names=tuple(names),
        template=DEFAULT_TEMPLATE,
        own_template=False,
        train=examples("train"),
        val=examples("val"),
        test=examples("test"),
        drawn=drawn,
    )
    left_out.log()
    return data


def class_folder_names(path: str | Path, *, nested: bool = False) -> list[str]:
    """Return what the classes of a folder are called without a file of class names."""
    root = expand_home(path)
    layout = find_layout(root)
    found = class_images(layout.train or layout.test or root, LeftOut(root), nested=nested)
    return _last_names(list(found))


def _below(root: Path, place: Path | None, images: Images) -> Images:
    """Return the images' paths from the root on."""
    start = (place or root).relative_to(root)
    return {name: [(start / path).as_posix() for path in paths] for name, paths in images.items()}


def _divided(
    layout: Layout, images: Images, options: FolderOptions
) -> tuple[DrawnSplit | None, dict[str, Images]]:
    """Return the split that was drawn for a training, and the images of train and test."""
    place, drawn, train = layout.train or Path(), None, set()
    if options.trained is None:
        drawn = draw_split(place, images, options.test_fraction or TEST_FRACTION)
        train, test = set(drawn.train), set(drawn.test)
        logger.info(
            "%s: %d images to train on, %d to test: %g of each class, by a hash of their paths.",
            place, len(train), len(test), drawn.test_fraction,
        )  # fmt: skip
    else:
        test = test_part(place, images, options.trained.split)

    def kept(side: set[str]) -> Images:
        return {name: [one for one in paths if one in side] for name, paths in images.items()}

    return drawn, {"train": kept(train), "test": kept(test)}


def _class_names(folders: Sequence[str], options: FolderOptions) -> list[str]:
    names = _last_names(folders)
    if options.class_names is not None:
        return renamed(names, options.class_names)
    return known_names(names, options.trained.class_names) if options.trained else names


def _last_names(folders: Sequence[str]) -> list[str]:
    """Return the last part of every path, or the path where several end in the same name."""
    last = [folder.rpartition("/")[2] for folder in folders]
    counts = Counter(map(readable, last))
    return [n if counts[readable(n)] == 1 else f for n, f in zip(last, folders, strict=True)]


def _require_known(
    root: Path, split: Path | None, names: Images, other: Path | None, others: Images
) -> None:
    """Require that the classes of one split are among those of another."""
    extra = sorted(set(names) - set(others))
    if not extra or split is None or other is None:
        return
    by_text = {_as_text(name): name for name in others if name not in names}
    for name in extra:
        if _as_text(name) in by_text:
            raise ValueError(
                f"{root}: the class folder {name!r} in {split.name} is "
                f"{by_text[_as_text(name)]!r} in {other.name}: they differ in upper and lower "
                "case, or in how an accented letter is encoded (Unicode form). Rename one of them"
            )
    raise ValueError(
        f"{root}: classes in {split.name} but not in {other.name}: {listing(extra)}; "
        f"add their folders to {other.name} or remove them from {split.name}"
    )


def _as_text(name: str) -> str:
    return nfc(name).casefold()
