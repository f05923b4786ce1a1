"""Files at http(s) addresses: small ones as text, shards into a cache folder.

Cache folder: the environment variable OPEN_CLIP_MMRL_CACHE, or `~/.cache/open_clip_mmrl`. A shard
that is there already is not fetched again: remove it there to get it anew.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from tarfile import ReadError
from typing import TYPE_CHECKING, BinaryIO

from ...errors import UsageError
from ...utils.files import atomic_file, expand_home
from ...utils.progress import Progress
from .request import Body, get, naming_url
from .tar_file import MAX_TAR, has_closing_mark, require_whole

if TYPE_CHECKING:
    from requests import Response

logger = logging.getLogger(__name__)

CACHE = "OPEN_CLIP_MMRL_CACHE"
TEXT_SECONDS = 60  # for a whole text
MAX_TEXT = 10_000_000  # bytes; more is no list of class names
_CHUNK = 1 << 20
_MB = 1e6


def is_url(root: str) -> bool:
    """Whether `root` is an http(s) address.

    Raises:
        UsageError: another scheme, such as `s3://`.
    """
    scheme, separator, _ = root.partition("://")
    if separator and scheme not in ("http", "https"):
        raise UsageError(f"{root} begins with {scheme}://; give a local folder or an http(s) URL")
    return bool(separator)


def fetch_text(url: str) -> str | None:
    """Return a small text file, or None where the server has none (404).

    Raises:
        ValueError: any other status, no answer, an answer that is too long or cut short, or no
            text; the message names the URL.
    """
    deadline = time.monotonic() + TEXT_SECONDS
    with closing(get(url)) as answer:
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        content = bytearray()
        for chunk in _chunks(_require_found(answer, url), url):
            content += chunk
            if len(content) > MAX_TEXT:
                break  # `decode` says so
            if time.monotonic() > deadline:
                raise ValueError(
                    f"{url} cannot be fetched: after {TEXT_SECONDS} s the server has not sent all"
                )
    return decode(bytes(content), url)


def decode(content: bytes, source: object) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
        ValueError: it is something else, or more than `MAX_TEXT`; the message names `source`.
    """
    if len(content) > MAX_TEXT:
        raise ValueError(f"{source} is no small text file: it has more than {MAX_TEXT} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not text in UTF-8 ({error})") from error


def open_shard(url: str) -> BinaryIO:
    """Open the file at `url` as a stream; nothing is kept on disk.

    Raises:
        ValueError: the server has no such file or does not answer; the message names the URL.
    """
    return io.BufferedReader(Body(_require_found(get(url), url)))


def fetch_shard(
    url: str, what: str = "", *, folder: str | Path | None = None, quiet: bool = False
) -> Path:
    """Return the file at `url` in the cache folder; fetch it unless it is there already.

    Streamed, so memory stays bounded; the file appears under its name only when it is a whole tar.
    One in the cache that does not end as a tar is fetched again.

    Args:
        url: its address.
        what: the text in front of the progress bar, which counts megabytes.
        folder: the cache folder, if not the default one.
        quiet: no progress bar.

    Raises:
        ValueError: the server has no such file, does not answer, sends less than it announced,
            more than fits, or no whole tar; the message names the URL.
        OSError: the cache folder cannot be written.
    """
    path = cached(url, folder)
    if path.is_file():
        if has_closing_mark(path):
            return path
        logger.warning("%s is cut or damaged; it is fetched again.", path)
    with closing(get(url)) as answer:
        _require_found(answer, url)
        with atomic_file(path) as file:
            _save(answer, url, file, what, quiet)
            _require_tar(Path(file.name), url)
    return path


def _save(answer: Response, url: str, file: BinaryIO, what: str, quiet: bool) -> None:
    """Write the body to a file; ValueError as soon as it is too large."""
    folder = Path(file.name).parent
    most = min(MAX_TAR, shutil.disk_usage(folder).free)
    size, done = answer.raw.length_remaining or 0, 0  # 0: unknown
    with Progress(what, size / _MB or None, quiet=quiet, unit="MB") as bar:
        for chunk in _chunks(answer, url):
            done += len(chunk)
            if max(done, size) > most:
                raise ValueError(
                    f"{url} has more than {most:,} bytes: too large for a shard, or for the space "
                    f"that is free in {folder}"
                )
            file.write(chunk)
            bar.advance(len(chunk) / _MB, images=len(chunk) / _MB)
    file.flush()


def _require_tar(file: Path, url: str) -> None:
    try:
        require_whole(file)
        if not has_closing_mark(file):
            raise ReadError("something follows its closing mark")
    except ReadError as error:
        raise ValueError(
            f"{url} is not a whole tar file ({error}); what the server sent is not kept"
        ) from error


def cached(url: str, folder: str | Path | None = None) -> Path:
    """Return where the cache folder holds `url`: FOLDER/<readable>-<hash of the rest>/NAME."""
    folder = folder or os.environ.get(CACHE) or "~/.cache/open_clip_mmrl"
    parent, _, name = url.rpartition("/")
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", parent.partition("://")[2])
    digest = hashlib.sha256(parent.encode()).hexdigest()[:12]
    return expand_home(folder) / f"{readable[-80:]}-{digest}" / name


def _require_found(answer: Response, url: str) -> Response:
    encoding = answer.headers.get("Content-Encoding", "identity")
    is_found = answer.status_code == HTTPStatus.OK
    if is_found and encoding == "identity":
        return answer
    answer.close()
    if is_found:  # a small answer might unpack to any size
        raise ValueError(
            f"{url} cannot be fetched: the server sends it compressed ({encoding}), unasked"
        )
    raise ValueError(f"{url} cannot be fetched: status {answer.status_code} ({answer.reason})")


def _chunks(answer: Response, url: str) -> Iterator[bytes]:
    """Pieces of the body as they come; one shorter than announced is an error of urllib3's."""
    body = io.BufferedReader(Body(answer))
    with naming_url(url):
        # Not `iter_content`, which waits until a whole piece is there.
        while chunk := body.read1(_CHUNK):
            yield chunk
