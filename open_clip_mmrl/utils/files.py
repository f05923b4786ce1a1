"""Files that are never half written, the JSON in them, and `~` in paths."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import UsageError
from .json_fields import unique_keys
from .text import listing

try:
    import fcntl
except ImportError:  # Windows: left-overs stay there
    fcntl = None

_RANDOM = re.compile("[a-z0-9_]{8}")
"""What names of temporary files end with; earlier versions used more than hexadecimal digits."""
_MAX_DEPTH = 50
"""Of JSON files; ours need less than ten levels."""


@contextmanager
def atomic_file(path: str | Path) -> Generator[BinaryIO, None, None]:
    """Give a new file to write to, which appears under its name when the block ends without error.

    Raises:
        UsageError: the path has no name, such as "".
        OSError: the file cannot be written; the message names it.
    """
    path = Path(path)
    if not path.name:
        raise UsageError(f"cannot write {str(path)!r}: that is no name of a file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary(path) as (handle, name):
            with open(name, "wb", opener=lambda *_: os.dup(handle)) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            name.replace(path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}.") from error


@contextmanager
def temporary(path: Path, *, folder: bool = False) -> Generator[tuple[int, Path], None, None]:
    """Yield a new file or folder next to `path`, open, and its own path: `.NAME.0123abcd`.

    Nobody can guess that name, and this process creates it: in a folder of several people no link
    of somebody else's is followed. At the end it is removed, if it is still there. What killed
    processes left of the same `path` is removed first.

    Raises:
        OSError: it cannot be made.
    """
    remove_leftovers(path)
    handle, name = _locked(path, folder)
    try:
        yield handle, name
    finally:
        _remove(name)
        os.close(handle)


def remove_leftovers(path: Path) -> None:
    """Remove temporary files and folders of `path` whose process has ended: their lock is free."""
    for found in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if not _RANDOM.fullmatch(found.name.rpartition(".")[2]):
            continue
        with suppress(OSError):  # somebody else's, or removed meanwhile
            handle = os.open(found, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                if _lock(handle):
                    _remove(found)
            finally:
                os.close(handle)


def _locked(path: Path, folder: bool) -> tuple[int, Path]:
    while True:
        name = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        if folder:
            name.mkdir()
            handle = os.open(name, os.O_RDONLY)
        else:
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(handle)
        if name.exists():  # not taken for a leftover before it was locked
            return handle, name
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file for as long as this process lives; False where that cannot be had."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all; see `atomic_file`."""
    with atomic_file(path) as stream:
        stream.write(data)


@contextmanager
def new_folder(path: str | Path, replace: Collection[str] = ()) -> Generator[Path, None, None]:
    """Yield a hidden folder next to `path`; at the end it is renamed, after an error removed.

    Args:
        path: of the folder.
        replace: names of files; a folder that holds nothing else is replaced.

    Raises:
        UsageError: `path` exists: what is written never mixes with anything else.
        OSError: nothing can be written there; the message names `path`.
    """
    path = Path(path)
    refuse_existing(path, replace)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary(path, folder=True) as (_, folder):
            yield folder
            refuse_existing(path, replace)
            _put_in_place(folder, path)
    except OSError as error:
        # Whoever wrote in there named the hidden folder, or nothing.
        reason = error.strerror or str(error).rpartition(": ")[2].rstrip(".")
        raise OSError(f"cannot write {path}: {reason}. Nothing was written.") from error


def _put_in_place(folder: Path, path: Path) -> None:
    if not path.exists():
        folder.rename(path)
        return
    with temporary(path, folder=True) as (_, old):
        path.rename(old)
        try:
            folder.rename(path)
        except OSError:
            old.rename(path)
            raise


def refuse_existing(path: Path, replace: Collection[str] = ()) -> None:
    """Raise UsageError if a folder to be made is there already, or has no name.

    Args:
        path: of the folder.
        replace: names of files that it may hold, if there are any.
    """
    if not path.name:
        raise UsageError("output is empty; give a folder that does not exist yet.")
    if path.is_dir() and replace:
        others = sorted({found.name for found in path.iterdir()} - set(replace))
        if others:
            raise UsageError(f"{path} holds other files ({listing(others, 4)}); give a new folder.")
    elif path.exists():
        raise UsageError(f"output {path} exists already; give a folder that does not, or move it.")


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether there is such a file; False for what no file can be called."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def is_dir(path: str | os.PathLike[str]) -> bool:
    """Return whether there is such a folder; False for what no folder can be called."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def read_bounded(path: str | Path, limit: int = 2**30) -> bytes:
    """Return the content of a file, which may be a pipe, or a device that never ends.

    Raises:
        OSError: it cannot be read, or holds more than `limit` bytes.
    """
    content = bytearray()
    with Path(path).open("rb") as file:
        while piece := file.read(2**20):
            content += piece
            if len(content) > limit:
                raise OSError(errno.EFBIG, f"it has more than {limit:,} bytes")
    return bytes(content)


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        ValueError: it is no JSON in UTF-8, has a key twice, or is nested too deep; the message
            names the file.
        OSError: it cannot be read; the message names it.
    """
    try:
        content = json.loads(read_bounded(path), object_pairs_hook=unique_keys)
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
