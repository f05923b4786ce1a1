"""Classes that are added to those of a fit, or removed, by label or by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..hub.class_tokens import usable_names
from ..utils.text import listing
from .images import several
from .labels import Label, label_mapping, name_list


def added_classes(names: Mapping[Label, str], given: Any) -> dict[Label, str]:
    """Return the names by label, with more of them.

    Args:
        names: of the classes so far.
        given: names, or a mapping from labels to names. Without labels, a name is its own, and
            where labels are numbers the next ones follow.

    Raises:
        ValueError: no names, or a label or a name that there is already.
    """
    is_text = isinstance(next(iter(names)), str)
    if isinstance(given, Mapping):
        new = label_mapping(given)
    else:
        listed = name_list(given, "classes")
        first = 0 if is_text else max(map(int, names)) + 1
        labels: Sequence[Label] = listed if is_text else range(first, first + len(listed))
        new = dict(zip(labels, listed, strict=True))
        if len(new) < len(listed):
            raise ValueError(f"the classes to add have a name twice: {listing(listed)}.")
    if not new:
        raise ValueError("there are no classes to add.")
    if isinstance(next(iter(new)), str) != is_text:
        raise ValueError(
            f"the labels so far are {listing(names)}, so {listing(new)} cannot be labels too."
        )
    known = [name for label, name in new.items() if label in names or name in names.values()]
    if known:
        raise ValueError(f"there are classes of this label or name already: {listing(known)}.")
    usable_names([*names.values(), *new.values()], "")
    return {**names, **new}


def remaining_classes(names: Mapping[Label, str], given: Any) -> dict[Label, str]:
    """Return the names by label without the classes given, by label or by name.

    Raises:
        ValueError: a class that there is not, or fewer than two remain.
    """
    listed = several(given)
    if listed is None:
        raise ValueError(f"classes is {given!r}; give a list of labels or names.")
    gone = set()
    for one in listed:
        label = one.item() if isinstance(one, np.generic) else one
        found = [key for key, name in names.items() if label in (key, name)]
        if not found:
            raise ValueError(f"there is no class {one!r} among {listing(names.values())}.")
        gone |= set(found)
    rest = {label: name for label, name in names.items() if label not in gone}
    if len(rest) < 2:
        raise ValueError(f"two or more classes have to remain, not {listing(rest.values())}.")
    return rest
