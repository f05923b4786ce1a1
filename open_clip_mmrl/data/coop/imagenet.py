"""ImageNet and its four relatives: one folder per class, names from `classnames.txt`.

    imagenet/images/{train,val}/<wnid>/*    train, and test (ILSVRC's validation images)
    imagenetv2/imagenetv2-matched-frequency-format-val/<0 .. 999>/*
    imagenet-sketch/images/<wnid>/*    imagenet-adversarial/imagenet-a/<wnid>/*
    imagenet-rendition/imagenet-r/<wnid>/*

Labels number the WordNet ids that have a folder, in sorted order, so the classes of -A and -R are
their own 200. The numbers of ImageNetV2 are places in the sorted ids of `classnames.txt`.

Names are those of `classnames.txt`. Where two classes have one name, which no prompt can tell
apart, one of them gets another name that WordNet has for it. In the field's list (CLIP's names)
these are the second "missile" and the second "sunglasses"; in lists of WordNet's first words
"crane", "maillot" and "cardigan" stand twice. `naming_note` says what was changed.

Images are sorted by file name. CoOp takes them in the order of the file system, so a few-shot draw
from ImageNet need not give the images that a published run had, whatever the seed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ...errors import UsageError
from ...utils.text import listing
from ..example import Example
from ..prompts import readable
from .catalog import CATALOG, CLASS_NAMES, IMAGENET, Entry
from .tree import class_folders, image_names, read_lines

_OTHER_NAMES = {
    "n02113186": "Cardigan Welsh corgi",
    "n03126707": "construction crane",
    "n03710721": "tank suit",
    "n04008634": "projectile",
    "n04356056": "dark glasses",
}
_LIST_SOURCE = "github.com/KaiyangZhou/CoOp, DATASETS.md, which links it"


def read_imagenet(
    entry: Entry, root: Path
) -> tuple[dict[str, tuple[Example, ...]], tuple[str, ...]]:
    """The examples of "train", "val" (always empty) and "test", and the class names by label.

    Raises:
        ValueError: a folder or `classnames.txt` is missing or not in order, a folder is no class
            of `classnames.txt` or holds no images, or train and val differ in their classes.
    """
    images = root / entry.folder / entry.images
    places = {"test": images}
    if entry.name == IMAGENET:
        places = {"train": images / "train", "test": images / "val"}
    names_file = _names_file(entry, root)
    names = read_class_names(names_file)
    numbered = entry.name == "imagenetv2"
    wnid_of = {str(n) if numbered else wnid: wnid for n, wnid in enumerate(sorted(names))}
    folders: dict[str, dict[str, Path]] = {part: {} for part in places}
    for part, place in places.items():
        for folder in class_folders(place, entry.source):
            if folder not in wnid_of:
                allowed = f"0 to {len(names) - 1}, places in" if numbered else "the ids in"
                raise ValueError(
                    f"{place / folder} is of no known class; the folders are named by {allowed} "
                    f"{names_file}"
                )
            folders[part][wnid_of[folder]] = place / folder
    wnids = sorted(folders["test"])
    for part in folders:
        unmatched = sorted(set(folders[part]) ^ set(wnids))
        if unmatched:
            raise ValueError(
                f"{places[part]} and {places['test']} must hold the same class folders; in one "
                f"only: {listing(unmatched)}"
            )
    parts = {
        part: tuple(
            Example(image=folders[part][wnid] / name, label=label)
            for label, wnid in enumerate(wnids)
            for name in image_names(folders[part][wnid])
        )
        for part in folders
    }
    return {"train": (), "val": (), **parts}, tuple(names[wnid] for wnid in wnids)


def read_class_names(path: Path) -> dict[str, str]:
    """WordNet id -> class name, all different; see above for the names that are changed.

    Raises:
        ValueError: the file is missing, a line is not "n01440764 tench", an id stands there
            twice, or two classes have one name and WordNet's other names are of no help.
    """
    names = _read_list(path)
    repeated = Counter(map(_as_prompted, names.values()))
    for wnid, other_name in _OTHER_NAMES.items():
        if wnid in names and repeated[_as_prompted(names[wnid])] > 1:
            names[wnid] = other_name
    first: dict[str, str] = {}
    for wnid, name in names.items():
        other = first.setdefault(_as_prompted(name), wnid)
        if other != wnid:
            raise ValueError(
                f"{path}: {other} and {wnid} are both named {name!r}; no prompt can tell them "
                "apart, so give one of them another name"
            )
    return names


def naming_note(entry: Entry, root: Path) -> str | None:
    """One sentence on the names that are not those of the list, for whoever compares results."""
    path = _names_file(entry, root)
    listed, used = _read_list(path), read_class_names(path)
    changed = [
        f"{name!r} ({wnid}) is {used[wnid]!r}"
        for wnid, name in listed.items()
        if used[wnid] != name
    ]
    if not changed:
        return None
    return (
        f"class names changed, because another class has the same: {'; '.join(changed)}. Published "
        "results were got without the change"
    )


def _read_list(path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for where, (wnid, name) in read_lines(path, r"(n\d{8}) (.+)", "n01440764 tench", _LIST_SOURCE):
        if wnid in names:
            raise ValueError(f"{where}: {wnid} is there already, as {names[wnid]!r}")
        names[wnid] = name
    return names


def _as_prompted(name: str) -> str:
    """What a tokenizer makes of a name: capitals do not matter to CLIP's."""
    return readable(name).lower()


def _names_file(entry: Entry, root: Path) -> Path:
    """The data set's own list, or ImageNet's, of which it is a copy."""
    candidates = [root / entry.folder / CLASS_NAMES, root / CATALOG[IMAGENET].folder / CLASS_NAMES]
    for path in candidates:
        if path.is_file():
            return path
    raise UsageError(
        f"coop:{entry.name}: no file {' or '.join(map(str, dict.fromkeys(candidates)))}; "
        f"get it from {_LIST_SOURCE}"
    )
