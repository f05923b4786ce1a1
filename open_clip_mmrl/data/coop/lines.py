"""Text files of one entry a line, which most data sets of the CoOp layout come with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ...errors import UsageError


def require(path: Path, source: str) -> Path:
    """Return `path`, if it exists.

    Raises:
        UsageError: it does not; the message names `source`, where to get it from.
    """
    if not path.exists():
        raise UsageError(f"{path} is missing; get it from {source} and put it there")
    return path


def read_lines(
    path: Path, pattern: str, shape: str, source: str
) -> list[tuple[str, tuple[str | Any, ...]]]:
    """Return (place, groups of `pattern`) for every line that is not blank.

    Args:
        path: the file; a place is "PATH, line N", for errors.
        pattern: regular expression that a whole line has to match.
        shape: an example of a line, for errors.
        source: where the file comes from, for errors.

    Raises:
        ValueError: the file is missing, not text, empty, or a line does not match.
    """
    try:
        text = require(path, source).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); get it from {source}") from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line:
            continue
        where = f"{path}, line {number}"
        match = re.fullmatch(pattern, line)
        if match is None:
            raise ValueError(f"{where}: {line[:200]!r} is not of the form {shape!r}")
        found.append((where, match.groups()))
    if not found:
        raise ValueError(f"{path} has no lines; each should be {shape!r}")
    return found
