"""The labels that `FewShotClassifier` is given; errors in scikit-learn's words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from ..utils.text import listing
from .images import Array, several

Label = str | int


def label_list(labels: Any) -> list[str] | list[int]:
    """Return the labels as names or as whole numbers.

    Raises:
        ValueError: none, a single label, or what is neither or both of these.
    """
    if labels is None:
        raise ValueError(
            "This FewShotClassifier estimator requires y to be passed, but the target y is None."
        )
    shape = getattr(labels, "shape", None)
    if shape is not None and len(shape) > 1:
        raise ValueError(
            f"y should be a 1d array, got an array of shape {tuple(shape)} instead: one label per "
            "image."
        )
    values = several(labels.tolist() if isinstance(labels, Array) else labels)
    if values is None:
        raise ValueError(f"y is {labels!r}; give a list, one label per image.")
    names, numbers = list[str](), list[int]()
    for index, given in enumerate(values):
        is_scalar = isinstance(given, np.generic | Array) and given.ndim == 0
        value = given.item() if is_scalar else given
        if isinstance(value, str):
            names.append(value)
        elif is_whole(value):
            numbers.append(int(value))
        else:
            raise ValueError(
                f"{_why_none(value)} y[{index}] is {given!r}; give one label per image, [N]: a "
                "class name, or a whole number that class_names has a name for."
            )
    if names and numbers:
        raise ValueError(
            f"labels are names, such as {names[0]!r}, and numbers, such as {numbers[0]}: give all "
            "of them as names or all as numbers."
        )
    return names or numbers


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number; True and False are none."""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def _why_none(value: Any) -> str:
    """Return what scikit-learn says of a label that is none."""
    if isinstance(value, float) and math.isnan(value):
        return "Input y contains NaN."
    if isinstance(value, float) and math.isinf(value):
        return "Input y contains infinity or a value too large for dtype('float64')."
    kind = "continuous" if isinstance(value, float) else "unknown"
    return f"Unknown label type: {kind}."


def name_list(class_names: Any, what: str = "class_names") -> list[str]:
    """Return names as plain texts, in their order; ValueError for anything else."""
    names = None if isinstance(class_names, Set) else several(class_names)
    if names is None:
        raise ValueError(
            f"{what} is {class_names!r}; give a list of names, in the order of the labels "
            "that are numbers, or a mapping from labels to names."
        )
    for name in names:
        _require_text(name)
    return [str(name) for name in names]  # numpy's texts become plain ones


def label_mapping(class_names: Mapping[Any, Any]) -> dict[Label, str]:
    """Return names by label, all labels being texts or all whole numbers; or ValueError."""
    found: dict[Label, str] = {}
    for given, name in class_names.items():
        label = given.item() if isinstance(given, np.generic) else given
        if not isinstance(label, str) and not is_whole(label):
            raise ValueError(f"class_names maps {given!r}; a label is a text or a whole number.")
        _require_text(name)
        found[label if isinstance(label, str) else int(label)] = str(name)
    if len({type(label) for label in found}) > 1:
        raise ValueError(f"class_names maps both texts and numbers: {listing(found)}.")
    return found


def _require_text(name: Any) -> None:
    if not isinstance(name, str):
        raise ValueError(f"class_names has {name!r}; a class name has to be a text.")
