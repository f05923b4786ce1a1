"""MATLAB files of version 5, as far as annotations need them: numbers, text, cells, structs.

scipy reads more, but a damaged byte can crash the process in its compiled code, or make it take all
memory. Format: MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MAX_UNPACKED = 2**27
"""Bytes of one variable; the annotations of the paper's data sets have less than one percent."""
_MAX_DEPTH = 10
"""Of cells in cells, and dimensions of an array."""
_NUMBERS = {
    1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q",
}  # fmt: skip
"""Number formats by type of element, as in `struct`."""
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = range(6, 16)
"""Classes of arrays."""

Element = tuple[int, memoryview]


def read_mat(path: Path) -> dict[str, Any]:
    """Return the variables of a file by name, each flat.

    Text is a string; numbers are a list, a cell array a list of values, and a struct array a list
    of dicts. Whatever else there is, is None.

    Raises:
        ValueError: it is another format, or damaged.
    """
    data = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[126:128]))
    if order is None:
        raise ValueError("it is no MATLAB file of version 5")
    try:
        return dict(_variables(data[128:], order))
    except (struct.error, zlib.error) as error:
        raise ValueError(f"it is damaged ({error})") from error


def _variables(data: memoryview, order: str) -> Iterator[tuple[str, Any]]:
    for kind, content in _elements(data, order):
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            unpacked = unpacker.decompress(content, _MAX_UNPACKED)
            if not unpacker.eof:
                raise ValueError("a variable is cut, or too large when it is unpacked")
            kind, content = _take(_elements(memoryview(unpacked), order), _MATRIX)
        if kind == _MATRIX:
            yield _array(content, order)


def _elements(data: memoryview, order: str) -> Iterator[Element]:
    """Yield (type, content) of a sequence of elements."""
    start = 0
    while start + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, start)
        start += 8
        if kind >> 16:  # a small one: type and size in four bytes, the content in the other four
            kind, size, start = kind & 0xFFFF, kind >> 16, start - 4
            end = start + 4
        else:
            end = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > min(end, len(data)):
            raise ValueError("it ends within an array")
        yield kind, data[start : start + size]
        start = end


def _take(elements: Iterator[Element], *kinds: int) -> Element:
    kind, content = next(elements, (0, memoryview(b"")))
    if kind not in kinds:
        raise ValueError(f"it is damaged: an element of type {kind}, not {kinds[0]}")
    return kind, content


def _array(data: memoryview, order: str, depth: int = 0) -> tuple[str, Any]:
    """Return name and value of an array."""
    if not data:  # an empty cell
        return "", []
    if depth > _MAX_DEPTH:
        raise ValueError("arrays are nested too deep")
    parts = _elements(data, order)
    flags = _numbers(_take(parts, _UINT32), order)
    count = math.prod(_numbers(_take(parts, _INT32), order)[:_MAX_DEPTH])
    name = bytes(_take(parts, _INT8)[1]).decode("latin-1")
    kind = flags[0] & 0xFF if flags else 0
    if kind == _CHAR:
        content_type, content = _take(parts, *_TEXTS)
        endian = {"<": "-le", ">": "-be"}[order] if _TEXTS[content_type][-2:] in "16 32" else ""
        return name, bytes(content).decode(_TEXTS[content_type] + endian)
    if kind in _NUMERIC:
        value: list[Any] = _numbers(_take(parts, *_NUMBERS), order)
    elif kind == _CELL:
        value = _arrays(parts, order, depth)
    elif kind == _STRUCT:
        value = _structs(parts, order, depth)
    else:
        return name, None
    if len(value) != count:
        raise ValueError(f"it is damaged: {name!r} has {len(value)} values, not {count}")
    return name, value


def _arrays(parts: Iterator[Element], order: str, depth: int) -> list[Any]:
    return [_array(data, order, depth + 1)[1] for kind, data in parts if kind == _MATRIX]


def _structs(parts: Iterator[Element], order: str, depth: int) -> list[dict[str, Any]]:
    (length,) = _numbers(_take(parts, _INT32), order) or (0,)
    names = bytes(_take(parts, _INT8)[1])
    if length < 1 or len(names) % length:
        raise ValueError("it is damaged: names of fields are cut")
    fields = [
        names[i : i + length].partition(b"\0")[0].decode("latin-1")
        for i in range(0, len(names), length)
    ]
    values = _arrays(parts, order, depth)
    if not fields or len(values) % len(fields):
        raise ValueError("it is damaged: values of fields are missing")
    return [
        dict(zip(fields, values[i : i + len(fields)], strict=True))
        for i in range(0, len(values), len(fields))
    ]


def _numbers(element: Element, order: str) -> list[Any]:
    kind, content = element
    number = _NUMBERS[kind]
    count = len(content) // struct.calcsize(f"{order}{number}")
    return list(struct.unpack_from(f"{order}{count}{number}", content))
