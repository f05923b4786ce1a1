"""Shards in clip_benchmark's layout, one color per image."""

from __future__ import annotations

import io
import tarfile

import webdataset
from PIL import Image

FORMATS = ("webp", "png", "jpg", "jpeg")


def color(index):
    return (20 * index % 256, 90, 160)


def encoded(index, extension, size=(6, 4)):
    stream = io.BytesIO()
    options = {"lossless": True} if extension == "webp" else {}
    kind = "jpeg" if extension == "jpg" else extension
    Image.new("RGB", size, color(index)).save(stream, kind, **options)
    return stream.getvalue()


def write_split(root, split, labels, per_shard=3):
    """One split: sample i is of color(i), in the four formats in turn."""
    folder = root / split
    folder.mkdir(parents=True)
    with webdataset.ShardWriter(f"{folder}/%d.tar", maxcount=per_shard, verbose=0) as sink:
        for index, label in enumerate(labels):
            extension = FORMATS[index % 4]
            sample = {"__key__": f"s{index:07d}", "cls": label}
            sink.write({**sample, extension: encoded(index, extension)})
        (folder / "nshards.txt").write_text(f"{sink.shard}\n")


def write_root(root, class_names=("cat", "dog"), templates=(), **splits):
    root.mkdir(exist_ok=True)
    (root / "classnames.txt").write_text("".join(f"{name}\n" for name in class_names))
    if templates:
        path = root / "zeroshot_classification_templates.txt"
        path.write_text("".join(f"{template}\n" for template in templates))
    for split, labels in splits.items():
        write_split(root, split, labels)
    return root


def write_tar(path, **members):
    """A tar of (name, content); in the names `__` stands for a dot."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
