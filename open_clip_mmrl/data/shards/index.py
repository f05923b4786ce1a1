"""clip_benchmark's layout of data sets in shards: what there is, and where. No pixel is read.

ROOT/{train,val,test}/nshards.txt, 0.tar, 1.tar, ...
ROOT/classnames.txt    ROOT/zeroshot_classification_templates.txt    ROOT/dataset_type.txt

ROOT is a folder or an http(s) URL. Source: `build_wds_dataset` in clip_benchmark's
datasets/builder.py; what its webdataset loader skips or trips over is an error here.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

from ...errors import UsageError
from ...utils.text import listing
from ..example import Example, ShardImage
from .download import decode, fetch_text, is_url

PARTS = ("train", "val", "test")
CLASS_NAMES, TEMPLATES = "classnames.txt", "zeroshot_classification_templates.txt"
DATASET_TYPE, NUM_SHARDS = "dataset_type.txt", "nshards.txt"
IMAGES = ("webp", "png", "jpg", "jpeg")  # of several in one sample, the first in this order
LABEL = "cls"
_HUB = "https://huggingface.co/datasets/"


@dataclass(frozen=True)
class ShardLayout:
    """What the text files at `root` say.

    Attributes:
        root: a folder or a URL, as given (a folder with `~` expanded).
        kind: what the samples are labelled with: one class, several, or captions.
        class_names: one per label; None without a classnames.txt.
        templates: prompts with `{c}` for the class name; None without a file of them.
    """

    root: str
    kind: Literal["classification", "multilabel", "retrieval"]
    class_names: tuple[str, ...] | None
    templates: tuple[str, ...] | None


def read_layout(root: str) -> ShardLayout:
    """The text files at `root`, a folder or a URL.

    Raises:
        UsageError: there is no such folder, or the URL is not http(s).
        ValueError: a server does not answer, a file is not UTF-8, or a class has an empty name.
    """
    if not is_url(root):
        root = os.path.expanduser(root)
        if not os.path.isdir(root):
            raise UsageError(f"folder {root} does not exist; give one that holds train and test")
    kind = (_read(root, DATASET_TYPE) or "").strip().lower()
    return ShardLayout(
        root=root,
        kind=kind if kind in ("multilabel", "retrieval") else "classification",
        class_names=_lines(root, CLASS_NAMES),
        templates=_lines(root, TEMPLATES),
    )


def parts_of(layout: ShardLayout) -> list[str]:
    """Those of train, val and test that there are."""
    if is_url(layout.root):
        return [part for part in PARTS if _read(layout.root, part, NUM_SHARDS) is not None]
    return [part for part in PARTS if os.path.isdir(os.path.join(layout.root, part))]


def shard_urls(layout: ShardLayout, split: str) -> list[str]:
    """The shards of one split, in order: paths, or URLs. A URL's shards are not looked up.

    Raises:
        ValueError: no such split, or `nshards.txt` is no positive whole number or disagrees with
            the tars in the folder.
    """
    text, where = _read(layout.root, split, NUM_SHARDS), _place(layout.root, split, NUM_SHARDS)
    if text is None:
        there = parts_of(layout)
        if split in there:
            raise ValueError(f"no {where}; it must hold the number of the {split} split's shards")
        raise ValueError(
            f"{layout.root} has no split {split!r}; splits there: {listing(there) or 'none'}"
        )
    if not re.fullmatch(r"0*[1-9][0-9]*", text.strip()):
        raise ValueError(f"{where} holds {text.strip()[:40]!r}, not a positive whole number")
    names = [f"{index}.tar" for index in range(int(text))]
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
    """The labelled images of a local shard, in order: where each lies in the tar, and its class.

    One pass over the tar's headers; of the contents only the labels are read. As webdataset does,
    neighbouring members with one name up to the first dot are a sample. Kinds of members other
    than an image and `cls` are passed over.

    Raises:
        ValueError: not a whole tar, or a sample without image or label; tar and key are named.
    """
    path, examples = Path(path), []
    try:
        with tarfile.open(path, "r:") as tar:
            for key, sample in groupby(_members(tar), key=itemgetter(0)):
                members: dict[str, tarfile.TarInfo] = {}
                for _, extension, member in sample:
                    if extension in members:
                        raise ValueError(f"{path}, key {key}: two members .{extension}")
                    members[extension] = member
                examples.append(_example(path, tar, key, members))
    except tarfile.TarError as error:
        key = f" after key {examples[-1].image.key}" if examples else ""
        raise ValueError(f"{path} is not a whole tar file{key} ({error}); get it anew") from error
    return examples


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """(key, extension, header) of every file of a sample; TarError if the tar is not whole."""
    for member in tar:
        key, extension = _key_and_extension(member.name)
        if key and member.isreg():
            yield key, extension, member
    # tarfile stops without a word at a header that is cut or damaged, and where one is missing;
    # but a whole tar closes with an empty block.
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it breaks off, or is damaged, before its end")


def _example(
    path: Path, tar: tarfile.TarFile, key: str, members: dict[str, tarfile.TarInfo]
) -> Example:
    extension = next((name for name in IMAGES if name in members), None)
    where = f"{path}, key {key}"
    if extension is None or LABEL not in members:
        absent = f"no .{LABEL}" if extension else f"no image ({listing(IMAGES)})"
        raise ValueError(f"{where}: {absent}; it has {listing(f'.{name}' for name in members)}")
    content = tar.extractfile(members[LABEL]).read()
    try:
        label = int(content)
    except ValueError as error:
        raise ValueError(f"{where}: .{LABEL} holds {content[:40]!r}, not an integer") from error
    image = members[extension]
    place = ShardImage(path, key, extension, image.offset_data, image.size)
    return Example(image=place, label=label)


def _key_and_extension(name: str) -> tuple[str, str]:
    """Webdataset's rule: "a/s1.seg.PNG" -> ("a/s1", "seg.png"); no key: the member is no sample's.

    No key have hidden files, files without an extension, and what its writers keep in `__meta__`.
    """
    folder, slash, file = name.rpartition("/")
    stem, dot, extension = file.partition(".")
    if not (stem and dot) or re.match(r"__[^/]*__($|/)", name):
        return "", ""
    return folder + slash + stem, extension.lower()


def _lines(root: str, name: str) -> tuple[str, ...] | None:
    """The lines of a file without those left empty at its end; None without the file."""
    text = _read(root, name)
    if text is None:
        return None
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if "" in lines:  # would shift what follows, or be a class without a name
        raise ValueError(f"{_place(root, name)}: line {lines.index('') + 1} is empty; remove it")
    return tuple(lines)


def _read(root: str, *parts: str) -> str | None:
    """The text of a file below `root`; None if it is not there."""
    place = _place(root, *parts)
    if is_url(root):
        return fetch_text(place)
    return decode(Path(place).read_bytes(), place) if os.path.isfile(place) else None


def _place(root: str, *parts: str, binary: bool = False) -> str:
    """The path or URL of what lies below `root`.

    The Hugging Face Hub (huggingface.co/datasets/USER/REPO/tree/BRANCH) serves text files below
    `raw` and large files below `resolve`.
    """
    if not is_url(root):
        return os.path.join(root, *parts)
    if root.startswith(_HUB):
        match = re.fullmatch(r"([^/]+/[^/]+)/tree/(.+)", root.removeprefix(_HUB).rstrip("/"))
        if match is None:
            raise UsageError(f"{root} must be written {_HUB}USER/REPO/tree/BRANCH")
        root = f"{_HUB}{match[1]}/{'resolve' if binary else 'raw'}/{match[2]}"
    return "/".join([root.rstrip("/"), *parts])
