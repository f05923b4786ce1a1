"""One labelled image, and how its pixels are read.

`read_image` is the one place to teach a new kind of image, such as a member of a shard.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, kw_only=True, eq=False)  # eq: arrays have no single answer to ==
class Example:
    """One labelled image.

    Attributes:
        image: a file, or pixels as a uint8 array, `[H, W]` grey or `[H, W, 3]` RGB.
        label: the class, an index into `ImageData.class_names`.
    """

    image: Path | np.ndarray
    label: int

    def __post_init__(self) -> None:
        if not isinstance(self.label, Integral) or isinstance(self.label, bool):
            raise ValueError(f"label is {self.label!r}; it must be an integer")
        if isinstance(self.image, np.ndarray):
            shape, dtype = self.image.shape, self.image.dtype
            if dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)):
                raise ValueError(
                    f"image is an array of {dtype} and shape {shape}; it must be uint8, "
                    "[height, width] (grey) or [height, width, 3] (RGB)"
                )
        elif not isinstance(self.image, Path):
            raise ValueError(
                f"image is of type {type(self.image).__name__}; "
                "it must be a pathlib.Path or a uint8 array"
            )


def read_image(example: Example) -> Image.Image:
    """The image in RGB, at its own size.

    A rotation noted in EXIF is not applied: the field's tools, CLIP's own among them, do not.

    Raises:
        ValueError: the file is missing, or is not a whole image; the message names it.
    """
    from PIL import Image

    if isinstance(example.image, np.ndarray):
        return Image.fromarray(example.image).convert("RGB")
    if not example.image.is_file():
        raise ValueError(f"image file {example.image} does not exist")
    try:
        with Image.open(example.image) as image:
            return image.convert("RGB")
    except Exception as error:  # what a damaged file raises depends on its format
        raise ValueError(
            f"image file {example.image} cannot be read ({error}); "
            "replace it, or remove it from the data set"
        ) from error
