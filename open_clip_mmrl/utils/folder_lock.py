"""One process, and one thread of it, at a time in a folder."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from ..errors import UsageError
from .files import write_atomically

logger = logging.getLogger(__name__)

LOCK, OWNER = ".lock", ".lock-owner"
_SECONDS = 2.0
"""The processes of a command that was killed take a moment to end."""


_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep others that call this out of a folder; make it if it does not exist.

    The operating system holds the lock, and gives it up when its process ends, however it ends.
    So it does between machines where the file system passes locks on: NFS of Linux, SMB, Lustre
    mounted with `flock`. On one without locks, a file that names its owner takes their place, or
    a warning says that nothing protects the folder, depending on the version of filelock.

    Raises:
        UsageError: another one works there; the message names its process and host.
        OSError: the folder cannot be written.
    """
    lock = _acquire(folder)
    try:
        owner = f"process {os.getpid()} on {socket.gethostname()}"
        write_atomically(folder / OWNER, owner.encode())
        yield
    finally:
        (folder / OWNER).unlink(missing_ok=True)
        if lock is not None:
            lock.release()


def _acquire(folder: Path) -> BaseFileLock | None:
    """Return the lock, or None where there are no locks."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=_SECONDS)
        return lock
    except Timeout:
        raise UsageError(
            f"{_owner(folder)} works in {folder}: wait until it has ended, or give another folder."
        ) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise OSError(f"cannot write {folder}: {error.strerror or error}.") from error
    logger.warning(
        "%s is on a file system without locks: make sure that no other command works there.", folder
    )
    return None


def worker_in(folder: Path) -> str | None:
    """Return who works in a folder, "process 17 on host"; None for nobody.

    Nothing is written. Where there are no locks, the owner's file is believed.
    """
    if not (folder / OWNER).is_file():
        return None
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):
        return _owner(folder)
    lock.release()
    return None


def _owner(folder: Path) -> str:
    for _ in range(10):  # it writes the file just after it has taken the lock
        try:
            return (folder / OWNER).read_text(encoding="utf-8")
        except OSError:
            time.sleep(0.05)
    return "another process"
