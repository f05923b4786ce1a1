"""Files that are never half written, the JSON in them, and `~` in paths."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

_MAX_DEPTH = 50
"""Of JSON files; ours need less than ten levels."""


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all: to a temporary file in its folder, which is then renamed.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}.") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)  # mkstemp lets only the owner read
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(f"cannot write {path}: {error.strerror or error}.") from error
        raise


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether there is such a file; False for what no file can be called."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        ValueError: it is no JSON in UTF-8, or is nested too deep; the message names the file.
        OSError: it cannot be read; the message names it.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:  # UnicodeDecodeError is one too
        raise ValueError(f"{path}: not JSON ({error})") from error
    except RecursionError as error:
        raise ValueError(f"{path}: nested deeper than {_MAX_DEPTH}") from error
    level = [content]
    for _ in range(_MAX_DEPTH):
        nested = [one for one in level if isinstance(one, dict | list)]
        level = [v for one in nested for v in (one.values() if isinstance(one, dict) else one)]
    if level:  # what reads or writes it later goes down by calls
        raise ValueError(f"{path}: nested deeper than {_MAX_DEPTH}")
    return content


def json_bytes(value: Any) -> bytes:
    """Return indented JSON; a ValueError for NaN, which JSON does not have."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def expand_home(path: str | Path) -> Path:
    """Return the path with a leading `~` expanded; a `~name` that is no user stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
