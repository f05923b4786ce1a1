"""Data sets by one string, the SPEC: `digits`, `folder:PATH`, `coop:NAME`.

`load_data` hands what follows the colon to the reader of that prefix. A new kind of source is a
function that returns an `ImageData`, and a line in `_READERS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from .base import Classes, Example, ImageData, read_image
from .coop import LAYOUTS, read_coop
from .digits import read_digits
from .folder import read_folder
from .messages import did_you_mean
from .prompts import DEFAULT_TEMPLATE, parse_template, prompts

__all__ = [
    "DEFAULT_TEMPLATE",
    "Classes",
    "Example",
    "ImageData",
    "load_data",
    "parse_template",
    "prompts",
    "read_image",
]


@dataclass(frozen=True)
class _Reader:
    """How a prefix is written, what it stands for, and what reads it.

    `argument` names what follows the colon; empty: nothing does, and there is no colon.
    """

    argument: str
    meaning: str
    read: Callable[[str, str | Path | None], ImageData]


_READERS = {
    "digits": _Reader(
        "", "the handwritten digits of scikit-learn", lambda _argument, _data_root: read_digits()
    ),
    "folder": _Reader(
        "PATH",
        "PATH/train/<class>/* and PATH/test/<class>/*",
        lambda argument, _data_root: read_folder(argument),
    ),
    "coop": _Reader("NAME", "NAME under data_root, with its split_*.json", read_coop),
}


def load_data(
    spec: str, *, data_root: str | Path | None = None, template: str | None = None
) -> ImageData:
    """The data set that `spec` names.

    Args:
        spec: `digits`, `folder:PATH` or `coop:NAME`.
        data_root: the folder that holds the data sets of `coop:`; the others do not look at it.
        template: a prompt to use instead of the data set's own, with `{}` for the class name.

    Raises:
        ValueError: an unknown form, or whatever the reader finds wrong; see the readers.
    """
    if template is not None:
        template = parse_template(template)  # before a large folder is read
    if not isinstance(spec, str):
        raise UsageError(f"data is {spec!r}, not a string.{_forms()}")
    prefix, colon, argument = spec.partition(":")
    reader = _READERS.get(prefix)
    if reader is None:
        raise UsageError(f"unknown data {spec!r}.{_suggestion(spec, prefix)}{_forms()}")
    if bool(reader.argument) != bool(argument) or (colon and not reader.argument):
        raise UsageError(f"data {spec!r} must be written {_form(prefix, reader)}.{_forms()}")
    data = reader.read(argument, data_root)
    return data if template is None else data.with_template(template)


def _form(prefix: str, reader: _Reader) -> str:
    return f"{prefix}:{reader.argument}" if reader.argument else prefix


def _forms() -> str:
    lines = (
        f"\n  {_form(prefix, reader)}: {reader.meaning}" for prefix, reader in _READERS.items()
    )
    return " The forms are:" + "".join(lines)


def _suggestion(spec: str, prefix: str) -> str:
    if os.path.isdir(os.path.expanduser(spec)):
        return f" Did you mean folder:{spec}?"
    if spec in LAYOUTS:
        return f" Did you mean coop:{spec}?"
    return did_you_mean(prefix, _READERS)
