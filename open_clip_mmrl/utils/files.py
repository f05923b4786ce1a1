"""Files that are never half written, the JSON in them, and `~` in paths."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_MAX_DEPTH = 50
"""Of JSON files; ours need less than ten levels."""


@contextmanager
def atomic_file(path: str | Path) -> Generator[BinaryIO, None, None]:
    """Give a new file to write to, which appears under its name when the block ends without error.

    Until then it has a name in the same folder that nobody can guess, and is created by this
    process: in a folder of several people no link of somebody else's is followed.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):  # it may never have been created
            temporary.unlink()
        if isinstance(error, OSError):
            raise OSError(f"cannot write {path}: {error.strerror or error}.") from error
        raise


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all; see `atomic_file`."""
    with atomic_file(path) as stream:
        stream.write(data)


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
