"""ImageNet and its four relatives: one folder per class, names from `classnames.txt`.

    imagenet/images/{train,val}/<wnid>/*    train, and test (ILSVRC's validation images)
    imagenetv2/imagenetv2-matched-frequency-format-val/<0 .. 999>/*
    imagenet-sketch/images/<wnid>/*    imagenet-adversarial/imagenet-a/<wnid>/*
    imagenet-rendition/imagenet-r/<wnid>/*

Labels number the WordNet ids that have a folder, in sorted order, so the classes of ImageNet-A and
-R are their own 200. The numbers of ImageNetV2 are places in the sorted ids of `classnames.txt`.

Names are those of `classnames.txt`. Two classes with one name have one prompt and always the same
logit, so one of them gets another name that WordNet has for it. In CoOp's list (CLIP's names) two
names are repeated, "missile" and "sunglasses"; three data sets hold both classes of each: ImageNet,
ImageNetV2 and ImageNet-Sketch. In lists of WordNet's first words, "crane", "maillot" and
"cardigan" are repeated. `naming_note` says what this does to results.

Images are sorted by file name here. CoOp takes them in the order of the file system, which
nobody recorded, so no published few-shot draw from ImageNet can be repeated, by any seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from ...errors import UsageError
from ...utils.text import listing
from ..dataset import SPLITS
from ..example import Example
from ..folders import class_folders, image_names
from ..prompts import REPEATED_IMAGENET_NAMES, readable
from .catalog import CATALOG, CLASS_NAMES, IMAGENET, Entry
from .lines import read_lines, require

_OTHER_NAMES = {
    "n02113186": "Cardigan Welsh corgi",
    "n03126707": "construction crane",
    "n03710721": "tank suit",
    **{wnid: other_name for wnid, (_, other_name) in REPEATED_IMAGENET_NAMES.items()},
}
_ALL_THOUSAND_CLASSES = (IMAGENET, "imagenetv2", "imagenet_sketch")
_LIST_SOURCE = "github.com/KaiyangZhou/CoOp, DATASETS.md, which links it"


def read_imagenet(
    entry: Entry, root: Path
) -> tuple[dict[str, tuple[Example, ...]], tuple[str, ...]]:
    """Return the examples of each split ("val" is empty), and the class names by label.

    Raises:
        ValueError: a folder or `classnames.txt` is missing or cannot be used, a folder is no class
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
    folders: dict[str, dict[str, Path]] = {split: {} for split in places}
    for split, place in places.items():
        require(place, entry.source)
        for folder in class_folders(place, f"unpack the images of {entry.source} there"):
            if folder not in wnid_of:
                allowed = f"0 to {len(names) - 1}, places in" if numbered else "the ids in"
                raise ValueError(
                    f"{place / folder} is of no known class; the folders are named by {allowed} "
                    f"{names_file}"
                )
            folders[split][wnid_of[folder]] = place / folder
    wnids = sorted(folders["test"])
    for split in folders:
        unmatched = sorted(set(folders[split]) ^ set(wnids))
        if unmatched:
            raise ValueError(
                f"{places[split]} and {places['test']} must hold the same class folders; in one "
                f"only: {listing(unmatched)}"
            )
    splits: dict[str, tuple[Example, ...]] = dict.fromkeys(SPLITS, ())
    for split in folders:
        splits[split] = tuple(
            Example(image=folders[split][wnid] / name, label=label)
            for label, wnid in enumerate(wnids)
            for name in image_names(folders[split][wnid])
        )
    return splits, tuple(names[wnid] for wnid in wnids)


def read_class_names(path: Path) -> dict[str, str]:
    """Return WordNet id -> class name, all different; see above for the names that are changed.

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
                f"{path}: {other} and {wnid} are both named {name!r}, so they would have the same "
                "prompt; give one of them another name"
            )
    return names


def changed_names(
    entry: Entry, root: Path, class_names: Iterable[str]
) -> dict[str, tuple[str, str]]:
    """Return WordNet id -> (name in the list, name used), where they differ.

    Args:
        entry: ImageNet or one of its four relatives.
        root: the data root.
        class_names: those of the data set as it was loaded; other classes are left out.
    """
    path = _names_file(entry, root)
    used, present = read_class_names(path), set(class_names)
    return {
        wnid: (name, used[wnid])
        for wnid, name in _read_list(path).items()
        if used[wnid] != name and used[wnid] in present
    }


def naming_note(
    name: str, changed: Mapping[str, tuple[str, str]] = MappingProxyType(REPEATED_IMAGENET_NAMES)
) -> str | None:
    """Return what to know when results are compared with published ones; None: nothing.

    Args:
        name: a data set of the catalog.
        changed: what `changed_names` found; without it, what it finds in CoOp's list.
    """
    if not changed or name not in _ALL_THOUSAND_CLASSES:
        return None
    changes = "; ".join(f"{old!r} ({wnid}) is {new!r}" for wnid, (old, new) in changed.items())
    note = f"class names changed, because another class has the same: {changes}."
    if dict(changed) != REPEATED_IMAGENET_NAMES:
        return f"{note} Published results were obtained without the change"
    # One class of each pair: 2 of 1,000, and 2 of the 500 novel ones, with 50 test images each.
    return (
        f"{note} Published results have one prompt for both classes of a pair, so at best the "
        "images of one of them count as right: accuracy here can be up to 0.2 points higher, and "
        "ImageNet's novel accuracy up to 0.4, since all four classes are novel ones"
    )


def _read_list(path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for where, (wnid, name) in read_lines(path, r"(n\d{8}) (.+)", "n01440764 tench", _LIST_SOURCE):
        if wnid in names:
            raise ValueError(f"{where}: {wnid} is there already, as {names[wnid]!r}")
        names[wnid] = name
    return names


def _as_prompted(name: str) -> str:
    """Return the name as CLIP's tokenizer sees it: in lower case."""
    return readable(name).lower()


def _names_file(entry: Entry, root: Path) -> Path:
    """Return the data set's own list, or ImageNet's, of which it is a copy."""
    candidates = [root / entry.folder / CLASS_NAMES, root / CATALOG[IMAGENET].folder / CLASS_NAMES]
    for path in candidates:
        if path.is_file():
            return path
    raise UsageError(
        f"coop:{entry.name}: no file {' or '.join(map(str, dict.fromkeys(candidates)))}; "
        f"get it from {_LIST_SOURCE}"
    )
