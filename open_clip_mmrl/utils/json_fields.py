"""Typed access to parsed JSON: every mistake is a ValueError that names the key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Content = Mapping[str, Any]
T = TypeVar("T")
_WORDS = {str: "text", bool: "true or false", int: "a whole number", dict: "an object"}


def unique_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object for `json.loads(object_pairs_hook=...)`, which would keep the last of a key.

    Raises:
        ValueError: a key is there twice: nobody knows which value was meant.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:80]!r} is there twice")
        found[key] = value
    return found


def optional(content: Content, key: str, kind: type[T]) -> T | None:
    """Return the value, which has to be of this very type; None where it is absent or null."""
    value = content.get(key)
    # The exact type, because JSON's true and false are integers to isinstance.
    if value is not None and type(value) is not kind:
        raise ValueError(f"{key!r} is {value!r}, not {_WORDS[kind]}")
    return value


def required(content: Content, key: str, kind: type[T]) -> T:
    """Return the value, which has to be there and of this very type."""
    value = optional(content, key, kind)
    if value is None:
        raise ValueError(f"{key!r} is missing")
    return value


def objects(content: Content, key: str) -> dict[str, Any]:
    """Return an object; empty where it is absent or null."""
    return optional(content, key, dict) or {}


def number(content: Content, key: str) -> float | None:
    """Return a finite number; None where it is absent or null."""
    value = content.get(key)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        found = float(value) if is_number else math.nan
    except OverflowError:  # a whole number of hundreds of digits
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"{key!r} is {str(value)[:80]!r}, not a finite number")
    return found


def required_number(content: Content, key: str) -> float:
    """Return a finite number, which has to be there."""
    value = number(content, key)
    if value is None:
        raise ValueError(f"{key!r} is missing")
    return value


def numbers(content: Content, key: str) -> dict[str, float | None]:
    """Return an object of numbers, in which null stays None; empty where it is absent."""
    values = objects(content, key)
    return {name: number(values, name) for name in values}


def rows(content: Content, key: str) -> list[dict[str, Any]]:
    """Return a list of objects; empty where it is absent."""
    found = content.get(key) or []
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{key!r} is not a list of objects")
    return found
