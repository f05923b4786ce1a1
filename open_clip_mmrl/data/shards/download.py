"""What lies behind http(s) addresses: small files as text, shards into a cache folder.

Cache folder: the environment variable OPEN_CLIP_MMRL_CACHE, or `~/.cache/open_clip_mmrl`. A shard
that lies there already is not fetched again: remove it there to get it anew.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ...errors import UsageError
from ...utils.progress import Progress

CACHE = "OPEN_CLIP_MMRL_CACHE"
TIMEOUT = 60  # seconds without a byte
WAITS = (1, 4, 16, 64)  # seconds before a busy server is asked again
_BUSY = (408, 429, 500, 502, 503, 504)
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
    """A small text file, or None where the server has none (404).

    Raises:
        ValueError: any other answer, no answer, or no text; the message names the URL.
    """
    with _naming(url):
        try:
            with _open(url) as answer:
                content = answer.read()
        except HTTPError as error:
            if error.code == http.client.NOT_FOUND:
                return None
            raise
    return decode(content, url)


def decode(content: bytes, source: object) -> str:
    """UTF-8, with or without a byte order mark.

    Raises:
        ValueError: it is something else; the message names `source`.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not text in UTF-8 ({error})") from error


def open_shard(url: str) -> BinaryIO:
    """The file behind `url` as a stream; it is kept nowhere.

    Raises:
        ValueError: the server has no such file or does not answer; the message names the URL.
    """
    with _naming(url):
        return _open(url)


def fetch_shard(
    url: str, what: str = "", *, folder: str | Path | None = None, quiet: bool = False
) -> Path:
    """The file behind `url` in the cache folder, fetched into it unless it is there already.

    Streamed, so memory stays bounded; the file appears under its name only when it is whole.
    `what` stands before the bar, which counts megabytes. `folder` takes the cache folder's place.

    Raises:
        ValueError: the server has no such file, does not answer or breaks off; the message names
            the URL.
        OSError: the cache folder cannot be written.
    """
    path = cached(url, folder)
    if path.is_file():
        return path
    # The process id: two runs may fetch the same shard, and each renames a whole file.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    answer = open_shard(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = answer.length or 0  # 0: the server did not say
        bar = Progress(what, size / _MB or None, quiet=quiet, unit="MB")
        with open(partial, "wb") as file, bar:
            for chunk in _chunks(answer, url):
                file.write(chunk)
                bar.advance(len(chunk) / _MB, images=len(chunk) / _MB)
            if size and file.tell() != size:
                raise ValueError(f"{url} broke off after {file.tell()} of {size} bytes")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        answer.close()
        with suppress(OSError):  # renamed, or never written
            partial.unlink()
    return path


def cached(url: str, folder: str | Path | None = None) -> Path:
    """Where the cache folder holds `url`: FOLDER/<readable>-<hash of the rest of it>/NAME."""
    folder = folder or os.environ.get(CACHE) or os.path.join("~", ".cache", "open_clip_mmrl")
    parent, _, name = url.rpartition("/")
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", parent.partition("://")[2])
    digest = hashlib.sha256(parent.encode()).hexdigest()[:12]
    return Path(os.path.expanduser(folder)) / f"{readable[-80:]}-{digest}" / name


def _open(url: str) -> http.client.HTTPResponse:
    request = Request(url, headers={"User-Agent": "open_clip_mmrl"})
    for wait in WAITS:
        try:
            return urlopen(request, timeout=TIMEOUT)
        except HTTPError as error:
            if error.code not in _BUSY:
                raise
        time.sleep(wait)
    return urlopen(request, timeout=TIMEOUT)


def _chunks(answer: http.client.HTTPResponse, url: str) -> Iterator[bytes]:
    while True:
        with _naming(url):
            chunk = answer.read(_CHUNK)
        if not chunk:
            return
        yield chunk


@contextmanager
def _naming(url: str) -> Iterator[None]:
    """Whatever goes wrong on the network is a ValueError that names the URL."""
    try:
        yield
    except HTTPError as error:
        raise ValueError(
            f"{url} cannot be fetched: status {error.code} ({error.reason})"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise ValueError(f"{url} cannot be fetched: {getattr(error, 'reason', error)}") from error
