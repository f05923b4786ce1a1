"""Which classes the labels are of: the rule for `class_names`, also within scikit-learn's tools.

Some of these encode the labels by themselves; see `_require_true_labels`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError
from ..hub.class_tokens import usable_names
from ..utils.text import listing
from .labels import Label, label_mapping, name_list

_KEEPING_LABELS = (
    "sklearn.base",
    "sklearn.pipeline",
    "sklearn.utils",
    "sklearn.model_selection._search",
    "sklearn.model_selection._validation",
)
"""Modules whose functions give `fit` the labels as they were given to them, but for:"""
_ENCODING = ("cross_val_predict", "_fit_and_predict")
_REMEDY = (
    "Give class_names in sorted order, or as a mapping from labels to names, such as "
    "{0: 'zero', 1: 'one'} or {'n01440764': 'tench'}, for exactly the classes that have images"
)


class Classes(NamedTuple):
    """The classes of a fit."""

    names: list[str]
    values: np.ndarray
    """The labels of the classes, sorted, [C]."""
    indices: list[int]
    """The class of every label given."""

    def by_label(self) -> dict[Label, str]:
        """Return the names by their labels."""
        return dict(zip(self.values.tolist(), self.names, strict=True))


def classes_of(
    labels: list[str] | list[int],
    class_names: Any,
    template: str,
    earlier: Mapping[Label, str] = MappingProxyType({}),
) -> Classes:
    """Return the classes that labels are of.

    Args:
        labels: from `label_list`.
        class_names: the parameter; None where the labels are the names.
        template: the prompt.
        earlier: names by label of an earlier fit, which are classes as well; of `class_names`
            those that have labels are added.

    Raises:
        ValueError: names that are none or the same, or labels of no class or of one.
    """
    if len(set(labels)) == 1 and not earlier:
        raise ValueError(
            "fit needs samples of at least 2 classes in the data, but the data contains only one "
            f"class: {labels[0]!r}"
        )
    given = _names_by_label(labels, class_names, earlier)
    if earlier:
        given = {label: given[label] for label in labels if label in given}
    changed = [label for label in given if earlier.get(label, given[label]) != given[label]]
    if changed or len({type(label) for label in {**earlier, **given}}) > 1:
        raise ValueError(
            f"the classes of the earlier fit are {listing(earlier.items())}; with "
            f"warm_start=True their labels have to keep their names, not {listing(given.items())}."
        )
    names = {**earlier, **given}
    if len(names) < 2 or len(set(names.values())) < len(names):
        raise ValueError(
            f"class_names has to hold two or more different names: {list(names.values())}."
        )
    usable_names(list(names.values()), template)
    unknown = sorted({str(label) for label in labels if label not in names})
    if unknown:
        raise ValueError(f"labels not among the {len(names)} classes: {listing(unknown, 5)}.")
    values = sorted(names)
    place = {value: i for i, value in enumerate(values)}
    return Classes([names[v] for v in values], np.array(values), [place[label] for label in labels])


def _names_by_label(
    labels: Sequence[Label], class_names: Any, earlier: Mapping[Label, str]
) -> dict[Label, str]:
    """Return the names by label, by the rule for `class_names`."""
    is_text = not labels or isinstance(labels[0], str)
    if class_names is None:
        return _own_names(labels)
    if not isinstance(class_names, Mapping):
        names = name_list(class_names)
        if not is_text:
            found: dict[Label, str] = dict(enumerate(names))
            if names != sorted(names) or len(found) > len(set(labels)):
                _require_true_labels(labels, found)
            return found
        if len(set(names)) < len(names):
            raise ValueError(f"class_names has to hold two or more different names: {names}.")
        return {label: str(label) for label in [*names, *(labels if earlier else [])]}
    found = label_mapping(class_names)
    of_text = all(isinstance(label, str) for label in found)
    if is_text and not of_text:
        raise ValueError(
            f"labels are names, such as {labels[:1]}, and class_names maps numbers: give the "
            "labels as numbers, or the names by their labels."
        )
    if is_text or not of_text:
        if len(found) > len(set(labels)) and not is_text:
            _require_true_labels(labels, found)
        return found
    # The codes of a tool, which count the labels in sorted order; of all of them, or of which?
    if set(labels) != set(range(len(found))):
        raise ValueError(
            f"labels are the numbers {listing(sorted(set(labels)))}, and class_names maps the "
            f"{len(found)} labels {listing(found)}. {_REMEDY}."
        )
    return {code: found[label] for code, label in enumerate(sorted(found, key=str))}


def _own_names(labels: Sequence[Label]) -> dict[Label, str]:
    """Return the labels as the names of their classes, which numbers are not."""
    names = sorted({label for label in labels if isinstance(label, str)})
    if not names:
        raise UsageError(
            "the labels are numbers and there are no class_names: the text tower needs names. "
            f"Give labels that are names, or class_names=[...]. {_REMEDY}, where a tool of "
            "scikit-learn encodes the labels."
        )
    if all(map(_is_numeral, names)):
        raise UsageError(
            f"the labels are the numbers {listing(names)} as texts, and there are no "
            "class_names. Give the names as class_names=[...] and the labels as numbers; if "
            f"numbers are what the images show, class_names={names[:2]} and so on."
        )
    return {name: name for name in names}


def _require_true_labels(labels: Sequence[Label], names: Mapping[Label, str]) -> None:
    """Raise where numbers may be codes that a tool has given to other labels.

    Such tools count the labels that they find, in sorted order: 0, 1, 2 may be the labels 1, 2, 3,
    or the names in another order than that of `class_names`. Nothing in the numbers tells.
    """
    tool = _encoding_tool()
    if tool:
        raise ValueError(
            f"the labels are the numbers {listing(sorted(set(labels)))}, and {tool} may have made "
            f"them of other labels, of which class_names ({listing(names.values())}) would then "
            f"be in the wrong order. {_REMEDY}."
        )


def _encoding_tool() -> str:
    """Return the function among the callers that may have encoded the labels, or ""."""
    frame = sys._getframe()
    while frame is not None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        is_tool = module.partition(".")[0] in ("sklearn", "mapie")
        keeps = module.startswith(_KEEPING_LABELS) and function not in _ENCODING
        if is_tool and not keeps:
            return f"{module}.{function}"
        frame = frame.f_back
    return ""


def _is_numeral(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
