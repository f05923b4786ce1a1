"""What `FewShotClassifier` is given: images, labels and class names, checked as they come in."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from .errors import UsageError
from .hub.class_tokens import usable_names
from .hub.load import LoadedModel
from .utils.text import listing

_ARRAYS = np.ndarray | torch.Tensor
_KINDS = str | Path | Image.Image | _ARRAYS


class Classes(NamedTuple):
    """The classes of a fit."""

    names: list[str]
    values: np.ndarray
    """The labels of the classes, sorted, [C]: names, or indices into the names."""
    indices: list[int]
    """The class of every label."""


def image_list(images: Any) -> list[Any]:
    """Return the images as a list.

    Raises:
        ValueError: a single image instead of several, or what is no image.
    """
    found = None if _is_one(images) else _several(images)
    if found is None:
        shape = f" and shape {tuple(images.shape)}" if isinstance(images, _ARRAYS) else ""
        given = repr(images) if isinstance(images, str | PurePath) else type(images).__name__
        raise ValueError(
            f"images is a single {given}{shape}; give a list of paths, PIL images or uint8 "
            "arrays, [image] for one."
        )
    for index, image in enumerate(found):
        if not isinstance(image, _KINDS):
            raise ValueError(
                f"images[{index}] is of type {type(image).__name__}; it has to be a path, a PIL "
                "image or a uint8 array [H, W] or [H, W, 3]."
            )
    return found


def _several(values: Any) -> list[Any] | None:
    """Return the values as a list; None where it is a single one."""
    if isinstance(values, str | bytes):
        return None
    try:
        return list(values)
    except TypeError:  # also of arrays without a dimension, which have the methods of a list
        return None


def _is_one(images: Any) -> bool:
    if not isinstance(images, _ARRAYS):
        return isinstance(images, str | bytes | PurePath | Image.Image)
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":  # of paths or images
        return images.ndim == 0
    if images.ndim != 3:
        return images.ndim < 3
    # Colors come last, in torchvision's tensors first; three gray images in a tensor need a list.
    colors_first = isinstance(images, torch.Tensor) and images.shape[0] == 3
    return images.shape[2] == 3 or colors_first


def label_list(labels: Any) -> list[str] | list[int]:
    """Return the labels as names or as whole numbers.

    Raises:
        ValueError: a single label, or what is neither or both of these.
    """
    values = labels.tolist() if isinstance(labels, _ARRAYS) else labels
    values = _several(values)
    if values is None:
        raise ValueError(f"labels is {labels!r}; give a list, one label per image.")
    names, numbers = list[str](), list[int]()
    for index, given in enumerate(values):
        is_scalar = isinstance(given, np.generic | _ARRAYS) and given.ndim == 0
        value = given.item() if is_scalar else given
        if isinstance(value, str):
            names.append(value)
        elif _is_whole(value):
            numbers.append(int(value))
        else:
            raise ValueError(
                f"labels[{index}] is {given!r}; give one label per image, [N]: a class name, or a "
                "whole number that is an index into class_names."
            )
    if names and numbers:
        raise ValueError(
            f"labels are names, such as {names[0]!r}, and numbers, such as {numbers[0]}: give all "
            "of them as names or all as indices into class_names."
        )
    return names or numbers


def _is_whole(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def classes_of(labels: list[str] | list[int], class_names: Any, template: str) -> Classes:
    """Return the classes that labels are of.

    Args:
        labels: from `label_list`.
        class_names: the parameter; None where the labels are the names.
        template: the prompt.

    Raises:
        ValueError: names that are none or the same, or labels of no class.
    """
    is_text = not labels or isinstance(labels[0], str)
    if class_names is None:
        if not is_text:
            raise UsageError(
                "the labels are numbers and there are no class_names: the text tower needs "
                "names. Give class_names=[...], or labels that are names."
            )
        names = sorted({str(label) for label in labels})
        if all(map(_is_numeral, names)):
            raise UsageError(
                f"the labels are the numbers {listing(names)} as texts, and there are no "
                "class_names. Give the names as class_names=[...] and the labels as numbers; if "
                f"numbers are what the images show, class_names={names[:2]} and so on."
            )
    else:
        names = _name_list(class_names)
        names = sorted(names) if is_text else names
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"class_names has to hold two or more different names: {names}.")
    usable_names(names, template)
    values = names if is_text else list(range(len(names)))
    place = {value: i for i, value in enumerate(values)}
    unknown = sorted({str(label) for label in labels if label not in place})
    if unknown:
        raise ValueError(f"labels not among the {len(names)} classes: {listing(unknown, 5)}.")
    return Classes(names, np.array(values), [place[label] for label in labels])


def _name_list(class_names: Any) -> list[str]:
    names = None if isinstance(class_names, Set) else _several(class_names)
    if names is None:
        raise ValueError(
            f"class_names is {class_names!r}; give a list of names, in the order of the labels "
            "that are numbers."
        )
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"class_names has {name!r}; a class name has to be a text.")
    return [str(name) for name in names]  # numpy's texts become plain ones


def _is_numeral(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def require_different_prompts(loaded: LoadedModel, names: list[str], template: str) -> None:
    """Check that the model reads no two classes alike: they could never be told apart.

    Raises:
        ValueError: the tokenizer makes the same of two prompts.
    """
    seen: dict[tuple[int, ...], str] = {}
    for name, reading in zip(names, loaded.readings(names, template), strict=True):
        other = seen.setdefault(reading, name)
        if other != name:
            raise ValueError(
                f"the classes {other!r} and {name!r} have the same prompt for this model's "
                "tokenizer and could never be told apart: give them other class_names, or one "
                "label."
            )
