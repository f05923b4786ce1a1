"""One labeled image, and how its pixels are read.

The kinds of image are a file, an array of pixels, a place in a shard, and an item of a data set of
torchvision's kind. Only `_open` distinguishes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .image_file import decode_image, to_rgb
from .no_programs import no_programs

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class ShardImage:
    """An image file inside a tar: `size` bytes from `offset` on. `key` is the sample's name."""

    shard: Path
    key: str
    extension: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard}, key {self.key}"

    def read(self, limit: int | None = None) -> bytes:
        """Return the file's content, or its first `limit` bytes."""
        with self.shard.open("rb") as shard:
            shard.seek(self.offset)
            return shard.read(self.size if limit is None else min(limit, self.size))


@dataclass(frozen=True, slots=True, eq=False)  # eq: data sets have none of their own
class DatasetItem:
    """`dataset[index]`, an (image, label) pair whose image is PIL's. `name` is the data set's."""

    dataset: Sequence[tuple[Image.Image, Any]]
    name: str
    index: int

    def __str__(self) -> str:
        return f"{self.name}[{self.index}]"


@dataclass(frozen=True, kw_only=True, eq=False)  # eq: arrays have no single answer to ==
class Example:
    """One labeled image.

    Attributes:
        image: a file, pixels as a uint8 array, `[H, W]` gray or `[H, W, 3]` RGB, a place in a
            shard, or an item of a data set.
        label: the class, an index into `ImageData.class_names`.
        upright: apply the orientation that a camera noted in the file (EXIF). Data sets of the
            field are read without: the field's tools do not apply it.
    """

    image: Path | np.ndarray | ShardImage | DatasetItem
    label: int
    upright: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.label, Integral) or isinstance(self.label, bool):
            raise ValueError(f"label is {self.label!r}; it must be an integer")
        if isinstance(self.image, np.ndarray):
            shape, dtype = self.image.shape, self.image.dtype
            is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
            if dtype != np.uint8 or not is_image or 0 in shape:
                raise ValueError(
                    f"image is an array of {dtype} and shape {shape}; it must be uint8, "
                    "[height, width] (gray) or [height, width, 3] (RGB)"
                )
        elif not isinstance(self.image, Path | ShardImage | DatasetItem):
            raise ValueError(
                f"image is of type {type(self.image).__name__}; it must be a pathlib.Path, a uint8 "
                "array, a ShardImage or a DatasetItem"
            )


def read_image(example: Example) -> Image.Image:
    """Return the image in RGB, at its own size; see `image_file` for what is accepted.

    Raises:
        ValueError: the file is missing, or is not a whole image; the message names it.
    """
    image = example.image
    if isinstance(image, Path) and not image.is_file():  # a pipe, for one, might never end
        raise ValueError(f"image {image} {'is not a file' if image.exists() else 'does not exist'}")
    try:
        return _open(image, example.upright)
    except Exception as error:  # a data set raises whatever it likes
        raise ValueError(
            f"image {image} cannot be read ({error}); replace it, or remove it from the data set"
        ) from error


def _open(image: Path | np.ndarray | ShardImage | DatasetItem, upright: bool) -> Image.Image:
    from PIL import Image

    if isinstance(image, np.ndarray):
        return Image.fromarray(image).convert("RGB")
    if isinstance(image, DatasetItem):
        with no_programs():
            return to_rgb(image.dataset[image.index][0], upright=upright)
    return decode_image(image if isinstance(image, Path) else image.read(), upright=upright)
