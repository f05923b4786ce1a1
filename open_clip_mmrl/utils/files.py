"""Files that are never half written, the JSON in them, and `~` in paths."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


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


def json_bytes(value: Any) -> bytes:
    """Return indented JSON; a ValueError for NaN, which JSON does not have."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def expand_home(path: str | Path) -> Path:
    """Return the path with a leading `~` expanded; a `~name` that is no user stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
