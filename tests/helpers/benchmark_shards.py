"""Shards of random pixels for clip_benchmark's reader."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ["ant", "bee", "cow", "dog"]


TEMPLATES = ["a photo of a {c}.", "a {c}"]


FORMATS = {"jpg": "JPEG", "JPEG": "JPEG", "png": "PNG", "webp": "WEBP"}


def picture(seed: int, image_format: str = "PNG", mode: str = "RGB") -> bytes:
    """An image of random pixels, 9 wide and 7 high."""
    pixels = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, image_format)
    return stream.getvalue()


def sample(index: int, label: object = None) -> dict[str, bytes]:
    """Extension -> content; formats in turn."""
    extension = list(FORMATS)[index % len(FORMATS)]
    label = index % len(CLASSES) if label is None else label
    return {extension: picture(index, FORMATS[extension]), "cls": str(label).encode()}


def write_tar(path: Path, samples: list[dict[str, bytes]], first: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for index, members in enumerate(samples, first):
            for extension, content in members.items():
                info = tarfile.TarInfo(f"s{index:07}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def write_set(
    root: Path,
    *tars: list[dict[str, bytes]],
    split: str = "test",
    classes: list[str] | None = CLASSES,
    kind: str | None = None,
) -> Path:
    """A set of one split in clip_benchmark's layout; returns its root."""
    first = 0
    for index, samples in enumerate(tars):
        write_tar(root / split / f"{index}.tar", samples, first)
        first += len(samples)
    (root / split / "nshards.txt").write_text(f"{len(tars)}\n")
    texts = {"classnames.txt": classes, "zeroshot_classification_templates.txt": TEMPLATES}
    for name, lines in texts.items():
        if lines is not None:
            (root / name).write_text("\n".join(lines) + "\n")
    if kind is not None:
        (root / "dataset_type.txt").write_text(kind + "\n")
    return root
