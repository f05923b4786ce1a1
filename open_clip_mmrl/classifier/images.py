"""The images that `FewShotClassifier` is given, checked as they come in."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..data.example import Example
from ..data.image_file import MAX_RATIO, to_rgb

Array = np.ndarray | torch.Tensor
_KINDS = str | Path | Image.Image | Array
_ACCEPTED = (
    "a path, a PIL image, an array [H, W], [H, W, 3] or [H, W, 1] or a tensor [H, W] or [3, H, W], "
    "of uint8 or of floats from 0 to 1"
)


def image_list(images: Any) -> list[Any]:
    """Return the images as a list.

    Raises:
        ValueError: a single image instead of several, or what is no image.
    """
    if hasattr(images, "columns"):  # pandas and polars iterate over the names of columns
        raise ValueError(
            f"X is a {type(images).__name__}, a table; give one of its columns, of paths or images."
        )
    found = None if _is_one(images) else several(images)
    if found is None:
        shape = f" and shape {tuple(images.shape)}" if isinstance(images, Array) else ""
        given = repr(images) if isinstance(images, str | PurePath) else type(images).__name__
        raise ValueError(
            f"X is a single {given}{shape}; give a list of paths, PIL images or arrays, [image] "
            "for one."
        )
    for index, image in enumerate(found):
        if not isinstance(image, _KINDS):
            raise ValueError(
                f"X[{index}] is of type {type(image).__name__}; it has to be {_ACCEPTED}."
            )
    return found


def several(values: Any) -> list[Any] | None:
    """Return the values as a list; None where it is a single one, ValueError for a set."""
    if isinstance(values, set | frozenset):  # images and labels would be paired at random
        raise ValueError(f"a {type(values).__name__} has no order: give a list.")
    if isinstance(values, str | bytes):
        return None
    try:
        return list(values)
    except TypeError:  # also of arrays without a dimension, which have the methods of a list
        is_array_like = hasattr(values, "__array__") and not isinstance(values, Array)
        return several(np.asarray(values)) if is_array_like else None


def _is_one(images: Any) -> bool:
    if not isinstance(images, Array):
        return isinstance(images, str | bytes | PurePath | Image.Image)
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":  # of paths or images
        return images.ndim == 0
    if images.ndim != 3:
        return images.ndim < 3
    # Colors come last, in torchvision's tensors first; three gray images in a tensor need a list.
    colors_first = isinstance(images, torch.Tensor) and images.shape[0] == 3
    return images.shape[2] in (1, 3) or colors_first


def examples_of(images: list[Any], labels: list[int] | None = None) -> list[Example]:
    """Return examples of what `image_list` returned; without labels, all are of class 0.

    Raises:
        ValueError: an array of another kind, shape or range, or an image that is damaged.
    """
    labels = labels or [0] * len(images)
    return [_example(*both, i) for i, both in enumerate(zip(images, labels, strict=True))]


def _example(image: Any, label: int, index: int) -> Example:
    if isinstance(image, str | Path):
        return Example(image=Path(image), label=label, upright=True)
    if isinstance(image, Image.Image):
        try:
            pixels = np.asarray(to_rgb(image, upright=True))
        except Exception as error:  # Pillow decodes now, and raises what the damage leads to
            raise ValueError(f"X[{index}] cannot be read ({error}).") from error
        return Example(image=pixels, label=label)
    return Example(image=_pixels(image, f"X[{index}]"), label=label)


def _pixels(image: Array, place: str) -> np.ndarray:
    """Return uint8 pixels [H, W] or [H, W, 3] of an array or a tensor.

    Raises:
        ValueError: another kind, shape or range.
    """
    given = f"{place} is of {str(image.dtype).removeprefix('torch.')} and shape {(*image.shape,)}"
    if isinstance(image, torch.Tensor):
        if image.is_meta or image.layout != torch.strided:
            raise ValueError(f"{given}, without its values or sparse; give a dense tensor.")
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
        if image.ndim == 3 and image.shape[0] in (1, 3):
            image = image.transpose(1, 2, 0)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or not image.size:
        raise ValueError(f"{given}; it has to be {_ACCEPTED}.")
    if max(image.shape[:2]) > MAX_RATIO * min(image.shape[:2]):
        raise ValueError(f"{given}: a side is more than {MAX_RATIO:,} times the other; crop it.")
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind != "f":
        raise ValueError(f"{given}; it has to be {_ACCEPTED}.")
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):  # NaN neither
        raise ValueError(
            f"{given}, with values from {low:.4g} to {high:.4g}; floats have to be from 0 (black) "
            "to 1 (white), not normalized: the model does that."
        )
    return (image * 255).round().astype(np.uint8)
