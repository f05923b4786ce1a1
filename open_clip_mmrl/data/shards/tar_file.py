"""The members of a tar, read so that damage is noticed and nothing in it takes endless memory.

`tarfile` by itself takes a tar that is cut, or has a damaged header, for one that ends there; reads
names of any length into memory; and runs in circles where a size is negative.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

MAX_MEMBER = 2**28
"""Bytes of a file in a tar; larger ones are not read into memory."""
MAX_TAR = 2**37
"""Bytes of a tar, unpacked: 137 GB. The field's shards have 1 to 10 GB."""
_MAX_NAME = 2**20  # bytes of an extended header, which holds a long name
_NAMES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
_GZIP = b"\x1f\x8b"

Read = Callable[[], bytes]


def members(source: Path | BinaryIO) -> Iterator[tuple[tarfile.TarInfo, Read]]:
    """Yield every regular file of a tar, and what reads its content before the next one.

    Args:
        source: a file, which must not be compressed; its contents are not read here. Or a stream,
            which may be.

    Raises:
        tarfile.ReadError: it is not a whole tar, or one of its sizes is absurd.
        OSError: the file or stream cannot be read.
    """
    complete = False

    class Header(tarfile.TarInfo):
        """Notices the closing mark, a block of zeros, which `tarfile` does not require."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
            nonlocal complete
            complete = complete or buf == bytes(tarfile.BLOCKSIZE)
            header = super().frombuf(buf, encoding, errors)
            if header.size < 0 or (header.type in _NAMES and header.size > _MAX_NAME):
                raise tarfile.ReadError(f"a header has the size {header.size}")
            return header

    try:
        with _opened(source, Header) as tar:
            end = 0
            while (member := tar.next()) is not None:
                if tar.offset <= end:
                    raise tarfile.ReadError(f"{member.name} has a negative size")
                end = tar.offset
                if end > MAX_TAR:
                    raise tarfile.ReadError(f"it has more than {MAX_TAR:,} bytes")
                if member.isreg():
                    yield member, lambda member=member: _content(tar, member)
                tar.members.clear()  # or they would add up in memory
    except (tarfile.TarError, OSError):
        raise
    except Exception as error:  # what a damaged header raises depends on where the damage is
        raise tarfile.ReadError(str(error) or type(error).__name__) from error
    if not complete:
        raise tarfile.ReadError("it ends, or is damaged, before its closing mark")


def require_whole(path: Path) -> None:
    """Read all headers of a tar; ReadError if it is cut, damaged or no tar."""
    for _ in members(path):
        pass


def has_closing_mark(path: Path) -> bool:
    """Return whether a file ends as tars do: in whole blocks, the last two of them empty."""
    end = 2 * tarfile.BLOCKSIZE
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < end or size % tarfile.BLOCKSIZE:
            return False
        file.seek(-end, 2)
        return file.read() == bytes(end)


def _opened(source: Path | BinaryIO, header: type[tarfile.TarInfo]) -> Any:
    """Return the TarFile; its list of members is not in the library's types."""
    if not isinstance(source, Path):
        return tarfile.open(fileobj=source, mode="r|*", tarinfo=header)
    with source.open("rb") as file:
        if file.read(2) == _GZIP:
            raise tarfile.ReadError("it is compressed with gzip; decompress it")
    return tarfile.open(source, "r:", tarinfo=header)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MAX_MEMBER:
        raise tarfile.ReadError(
            f"{member.name} has {member.size:,} bytes, more than the {MAX_MEMBER:,} allowed"
        )
    file = tar.extractfile(member)
    assert file is not None, "a regular file"
    return file.read()
