"""Images of a data set in a page: their names, and small pictures of them."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...data import Example
from ...data.example import read_image

if TYPE_CHECKING:
    from PIL import Image

SIZE = 160
"""Of the longer side of a small picture, in pixels."""


def image_names(examples: Sequence[Example], split: str) -> list[str]:
    """Return the file, the place in a shard or in a data set; `test[7]` where there is none."""
    return [
        f"{split}[{i}]" if isinstance(example.image, np.ndarray) else str(example.image)
        for i, example in enumerate(examples)
    ]


def short_names(names: Sequence[str]) -> list[str]:
    """Return the names without the folders that they share."""
    try:
        shared = os.path.commonpath([str(Path(name).parent) for name in names])
    except ValueError:  # not all of them are files
        return list(names)
    return [os.path.relpath(name, shared) for name in names]


def data_uri(example: Example) -> str:
    """Return a small JPEG of the image, for the `src` of a page that needs no other file.

    Raises:
        ValueError: the image cannot be read; the message names it.
    """
    stream = io.BytesIO()
    _small(read_image(example)).save(stream, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _small(image: Image.Image) -> Image.Image:
    from PIL import Image

    times = SIZE // max(image.size)
    if times > 1:  # pixels of an image this small are to be seen
        size = (image.width * times, image.height * times)
        return image.resize(size, Image.Resampling.NEAREST)
    image.thumbnail((SIZE, SIZE))
    return image
