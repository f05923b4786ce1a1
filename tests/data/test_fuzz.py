"""Thousands of damaged files: each is read, or refused in one line that names it.

`MMRL_FUZZ=20000` makes it a hundred times as many.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.shards import write_root, write_tar
from helpers.trees import write_tree
from PIL import Image, features

from open_clip_mmrl.data import Example, read_image
from open_clip_mmrl.data.check_images import require_readable
from open_clip_mmrl.data.coop import annotations
from open_clip_mmrl.data.coop.imagenet import read_class_names
from open_clip_mmrl.data.coop.split_file import read_split_file
from open_clip_mmrl.data.shards.index import index_shard, read_layout, shard_urls

SCALE = max(1, int(os.environ.get("MMRL_FUZZ", "200")) // 200)
KINDS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]
KINDS += ["JPEG2000"] if features.check("jpg_2000") else []


def damaged(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Versions of a file that are cut, flipped, doubled, emptied or joined with something else."""
    generator = np.random.default_rng(seed)
    for number in range(count * SCALE):
        data = bytearray(content)
        first, second = sorted(generator.integers(0, len(data) + 1, 2).tolist())
        match number % 6:
            case 0:
                del data[first:]
            case 1 | 2:  # most of what is told in few bytes stands at the beginning
                end = len(data) if number % 6 == 1 else min(len(data), 64)
                for place in generator.integers(0, end, 4):
                    data[place] = generator.integers(256)
            case 3:
                data[first:second] = b"\xff" * (second - first)
            case 4:
                data[first:first] = data[first:second]
            case _:
                del data[first:second]
        yield bytes(data)


def check(path: Path, content: bytes, count: int, read: Callable[[], object]) -> None:
    """Read every damaged version; whatever is refused is refused with the file's name."""
    refused = []
    for version in damaged(content, count, seed=len(content)):
        path.write_bytes(version)
        try:
            read()
        except (ValueError, OSError) as error:
            refused.append(str(error))
    assert len(refused) > count / 10
    for message in refused:
        assert path.name in message and "Traceback" not in message and len(message) < 1000
    path.write_bytes(content)
    read()


@pytest.mark.filterwarnings("ignore")  # of Pillow; outside of tests they are not shown
@pytest.mark.parametrize("kind", KINDS)
def test_images(tmp_path, kind):
    rows = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
    Image.fromarray(rows).save(stream, kind, **options)
    path = tmp_path / "picture"
    example = Example(image=path, label=0, upright=True)

    def read():
        read_image(example)
        require_readable([example], quiet=True)

    check(path, stream.getvalue(), 200, read)


def test_shards(tmp_path):
    path = tmp_path / "0.tar"
    content = write_tar(path, a__png=b"x" * 600, a__cls=b"1", b__png=b"y", b__cls=b"0").read_bytes()
    check(path, content[: 11 * 512], 300, lambda: index_shard(path))


def test_split_files(tmp_path):
    path = tmp_path / "split_x.json"
    rows = [["a/1.png", 0, "café"], ["b/1.png", 1, "dog"]]
    content = json.dumps({"train": rows, "val": [], "test": rows}, ensure_ascii=False).encode()
    check(path, content, 300, lambda: read_split_file(path))


@pytest.mark.parametrize("name", ["classnames.txt", "test/nshards.txt", "dataset_type.txt"])
def test_texts_of_shards(tmp_path, name):
    write_root(tmp_path, ("cat", "dog"), test=[0, 1])
    path = tmp_path / name
    content = {"classnames.txt": "cat\ncafé\n", "test/nshards.txt": "1\n"}.get(name, "retrieval\n")

    def read():
        shard_urls(read_layout(str(tmp_path)), "test")

    if name == "dataset_type.txt":  # any word is allowed
        content = "é" * 20
    check(path, content.encode(), 150, read)


def test_lists_of_names(tmp_path):
    path = tmp_path / "classnames.txt"
    check(path, b"n01440764 tench\nn01443537 goldfish\n", 200, lambda: read_class_names(path))


@pytest.mark.parametrize(
    ("data_set", "file", "read"),
    [
        ("oxford_flowers", "cat_to_name.json", annotations.read_flowers),
        ("oxford_pets", "annotations/test.txt", annotations.read_pets),
        ("ucf101", "ucfTrainTestlist/classInd.txt", annotations.read_ucf),
    ],
)
def test_annotations(tmp_path, data_set, file, read):
    folder = write_tree(tmp_path, data_set)
    path = folder / file
    check(path, path.read_bytes(), 120, lambda: read(folder, "example.org"))
