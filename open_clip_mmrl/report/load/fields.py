"""Typed access to a results.json: every slip is a ValueError that names the key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Content = Mapping[str, Any]
_WORDS = {str: "text", bool: "true or false", int: "a whole number", dict: "an object"}


def optional(content: Content, key: str, kind: type) -> Any:
    """The value, which has to be of this type; None where it is absent or null."""
    value = content.get(key)
    # The exact type, because JSON's true and false are integers to isinstance.
    if value is not None and type(value) is not kind:
        raise ValueError(f"{key!r} is {value!r}, not {_WORDS[kind]}")
    return value


def required(content: Content, key: str, kind: type) -> Any:
    if content.get(key) is None:
        raise ValueError(f"{key!r} is missing")
    return optional(content, key, kind)


def number(content: Content, key: str) -> float | None:
    """A finite number; None where it is absent or null."""
    value = content.get(key)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ValueError(f"{key!r} is {value!r}, not a finite number")
    return float(value)


def numbers(content: Content, key: str, prefix: str = "") -> dict[str, float]:
    """The numbers of an object that may be absent, without those that are null."""
    values = optional(content, key, dict) or {}
    found = {prefix + name: number(values, name) for name in values}
    return {name: value for name, value in found.items() if value is not None}


def number_lists(content: Content, key: str, names: tuple[str, ...]) -> tuple[tuple, ...]:
    """A list of objects as tuples of their numbers by these names; empty where it is absent."""
    rows = content.get(key) or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{key!r} is not a list of objects")
    found = tuple(tuple(number(row, name) for name in names) for row in rows)
    if any(value is None for row in found for value in row):
        raise ValueError(f"{key!r}: an entry lacks one of {', '.join(names)}")
    return found
