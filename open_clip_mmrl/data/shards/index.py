"""clip_benchmark's layout of data sets in shards: which images there are, and where.

ROOT/{train,val,test}/nshards.txt, 0.tar, 1.tar, ...
ROOT/classnames.txt    ROOT/zeroshot_classification_templates.txt    ROOT/dataset_type.txt

ROOT is a folder or an http(s) URL. Source: `build_wds_dataset` in clip_benchmark's
datasets/builder.py; samples that its webdataset loader skips or fails on are an error here. No
pixel is read.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

from ...errors import UsageError
from ...utils.files import expand_home
from ...utils.text import listing, suggestion
from ..dataset import SPLITS
from ..example import Example, ShardImage
from .download import MAX_TEXT, decode, fetch_text, is_url
from .tar_file import MAX_MEMBER, members

Kind = Literal["classification", "multilabel", "retrieval"]
CLASS_NAMES, TEMPLATES = "classnames.txt", "zeroshot_classification_templates.txt"
DATASET_TYPE, NUM_SHARDS = "dataset_type.txt", "nshards.txt"
IMAGES = ("webp", "png", "jpg", "jpeg")  # of several in one sample, the first in this order
LABEL = "cls"
MAX_SHARDS = 100_000
"""Of a split; the largest data sets of the field have a few thousand."""
_KINDS: dict[str, Kind] = {"multilabel": "multilabel", "retrieval": "retrieval"}
_HUB = "https://huggingface.co/datasets/"


@dataclass(frozen=True)
class ShardLayout:
    """The content of the text files at `root`.

    Attributes:
        root: a folder or a URL, as given (a folder with `~` expanded).
        kind: the samples have one class, several classes, or captions.
        class_names: one per label; None without a classnames.txt.
        templates: prompts with `{c}` for the class name; None without a file of them.
    """

    root: str
    kind: Kind
    class_names: tuple[str, ...] | None
    templates: tuple[str, ...] | None


def read_layout(root: str) -> ShardLayout:
    """Read the text files at `root`, a folder or a URL.

    Raises:
        UsageError: there is no such folder, or the URL is not http(s).
        ValueError: a server does not answer, a file is not UTF-8, or a class has an empty name.
    """
    if not is_url(root):
        root = str(expand_home(root))
        if not Path(root).is_dir():
            raise UsageError(f"folder {root} does not exist; give one that holds train and test")
    kind = (_read(root, DATASET_TYPE) or "").strip().lower()
    return ShardLayout(
        root=root,
        kind=_KINDS.get(kind, "classification"),
        class_names=_lines(root, CLASS_NAMES),
        templates=_lines(root, TEMPLATES),
    )


def splits_of(layout: ShardLayout) -> list[str]:
    """Return those of train, val and test that are there."""
    if is_url(layout.root):
        return [split for split in SPLITS if _read(layout.root, split, NUM_SHARDS) is not None]
    return [split for split in SPLITS if Path(layout.root, split).is_dir()]


def shard_urls(layout: ShardLayout, split: str) -> list[str]:
    """Return the shards of one split, in order: paths, or URLs that are not looked up.

    Raises:
        ValueError: no such split, or `nshards.txt` is no positive whole number or disagrees with
            the tars in the folder.
    """
    text, where = _read(layout.root, split, NUM_SHARDS), _place(layout.root, split, NUM_SHARDS)
    if text is None:
        present = splits_of(layout)
        if split in present:
            raise ValueError(f"no {where}; it must hold the number of the {split} split's shards")
        raise ValueError(
            f"{layout.root} has no split {split!r}; splits there: {listing(present) or 'none'}."
            f"{'' if present else _sets_below(layout.root)}"
        )
    number = text.strip()
    if not re.fullmatch(r"0*[1-9][0-9]*", number):
        raise ValueError(f"{where} holds {number[:40]!r}, not a positive whole number")
    if len(number) > 20 or int(number) > MAX_SHARDS:
        raise ValueError(
            f"{where} says {number[:40]} shards; at most {MAX_SHARDS:,} are read. Correct it"
        )
    names = [f"{index}.tar" for index in range(int(number))]
    if not is_url(layout.root):
        present = {entry.name for entry in Path(layout.root, split).glob("*.tar")}
        missing = [name for name in names if name not in present]
        if missing:
            raise ValueError(f"{where} says {len(names)}, but missing are {listing(missing)}")
        extra = sorted(present.difference(names))
        if extra:
            verb = "is" if len(extra) == 1 else "are"
            raise ValueError(
                f"{where} says {len(names)}, but {listing(extra)} {verb} there as well"
            )
    return [_place(layout.root, split, name, binary=True) for name in names]


def index_shard(path: str | Path) -> list[Example]:
    """Return the labeled images of a local shard, in order: the place in the tar, and the class.

    One pass over the tar's headers; of the contents only the labels are read. As in webdataset,
    adjacent members with one name up to the first dot are a sample. Members other than an image
    and `cls` are skipped.

    Raises:
        ValueError: not a whole tar, or a sample without image or label; tar and key are named.
    """
    path = Path(path)
    examples: list[Example] = []
    last = ""
    try:
        for key, sample in groupby(_members(path), key=itemgetter(0)):
            found: dict[str, ShardImage | bytes] = {}
            for _, extension, content in sample:
                if extension in found:
                    raise ValueError(f"{path}, key {key}: two members .{extension}")
                found[extension] = content
            examples.append(_example(f"{path}, key {key}", found))
            last = f" after key {key}"
    except (tarfile.TarError, OSError) as error:
        raise ValueError(
            f"{path} is not a whole tar file{last} ({error}); remove it and get it anew"
        ) from error
    return examples


def _members(path: Path) -> Iterator[tuple[str, str, ShardImage | bytes]]:
    """(key, extension, content of a label or place of anything else) of every file of a sample."""
    for member, read in members(path):
        key, extension = _key_and_extension(member.name)
        if not key:
            continue
        if member.issparse():
            raise tarfile.ReadError(f"{member.name} is a sparse file, which is not stored in full")
        place = ShardImage(path, key, extension, member.offset_data, member.size)
        yield key, extension, read() if extension == LABEL and member.size <= 100 else place


def _example(where: str, found: dict[str, ShardImage | bytes]) -> Example:
    extension = next((name for name in IMAGES if name in found), None)
    if extension is None or LABEL not in found:
        absent = f"no .{LABEL}" if extension else f"no image ({listing(IMAGES)})"
        raise ValueError(f"{where}: {absent}; it has {listing(f'.{name}' for name in found)}")
    image, content = found[extension], found[LABEL]
    assert isinstance(image, ShardImage)
    if image.size > MAX_MEMBER:
        raise ValueError(f"{where}: .{extension} has {image.size:,} bytes, which no image has")
    if isinstance(content, ShardImage):
        raise ValueError(f"{where}: .{LABEL} has {content.size} bytes; it has to hold an integer")
    try:
        label = int(content)
    except ValueError as error:
        raise ValueError(f"{where}: .{LABEL} holds {content[:40]!r}, not an integer") from error
    return Example(image=image, label=label)


def _sets_below(root: str) -> str:
    """Return a suggestion of the folders in `root` that hold splits: a set is a folder itself."""
    if is_url(root):
        return ""
    found = {str(path.parent.parent) for path in Path(root).glob(f"*/*/{NUM_SHARDS}")}
    return suggestion(*sorted(found)[:3])


def _key_and_extension(name: str) -> tuple[str, str]:
    """Split a member's name as webdataset does: "a/s1.seg.PNG" -> ("a/s1", "seg.png").

    The key is "" for what belongs to no sample: hidden files, files without an extension, and what
    webdataset's writers keep in `__meta__`.
    """
    folder, slash, file = name.rpartition("/")
    stem, dot, extension = file.partition(".")
    if not (stem and dot) or re.match(r"__[^/]*__($|/)", name):
        return "", ""
    return folder + slash + stem, extension.lower()


def _lines(root: str, name: str) -> tuple[str, ...] | None:
    """Return the lines of a file without those left empty at its end; None without the file."""
    text = _read(root, name)
    if text is None:
        return None
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if "" in lines:  # it would shift the labels, or be a class without a name
        raise ValueError(f"{_place(root, name)}: line {lines.index('') + 1} is empty; remove it")
    return tuple(lines)


def _read(root: str, *parts: str) -> str | None:
    """Return the text of a file below `root`; None if it is not there."""
    place = _place(root, *parts)
    if is_url(root):
        return fetch_text(place)
    if not Path(place).is_file():
        return None
    with Path(place).open("rb") as file:
        return decode(file.read(MAX_TEXT + 1), place)


def _place(root: str, *parts: str, binary: bool = False) -> str:
    """Return the path or URL of a file below `root`.

    The Hugging Face Hub (huggingface.co/datasets/USER/REPO/tree/BRANCH) serves text files below
    `raw` and large files below `resolve`.
    """
    if not is_url(root):
        return str(Path(root, *parts))
    if root.startswith(_HUB):
        match = re.fullmatch(r"([^/]+/[^/]+)/tree/(.+)", root.removeprefix(_HUB).rstrip("/"))
        if match is None:
            raise UsageError(f"{root} must be written {_HUB}USER/REPO/tree/BRANCH")
        root = f"{_HUB}{match[1]}/{'resolve' if binary else 'raw'}/{match[2]}"
    return "/".join([root.rstrip("/"), *parts])
