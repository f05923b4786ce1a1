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
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from tarfile import ReadError
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urljoin

from ...errors import UsageError
from ...utils.files import atomic_file, expand_home
from ...utils.progress import Progress
from .tar_file import MAX_TAR, has_closing_mark, require_whole

if TYPE_CHECKING:
    from requests import Response, Session

logger = logging.getLogger(__name__)

CACHE = "OPEN_CLIP_MMRL_CACHE"
TIMEOUT = 60  # seconds without a byte
ANSWER_SECONDS = 300  # until the status is there, with all retries and redirects
TEXT_SECONDS = 60  # for a whole text
SLOW_SECONDS, SLOW_BYTES = 60, 60_000  # of waiting; a server that sends less meanwhile is given up
MAX_TEXT = 10_000_000  # bytes; more is no list of class names
_BUSY = (408, 429, 500, 502, 503, 504)
_CHUNK = 1 << 20
_MAX_REDIRECTS = 10
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
    with closing(_get(url)) as answer:
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
    return io.BufferedReader(_Body(_require_found(_get(url), url)))


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
    with closing(_get(url)) as answer:
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


def _get(url: str) -> Response:
    """Send the request; the body is still to be read. A busy server is tried five times more.

    The waits are 0, 10, 20, 40 and 80 seconds; a lost connection is tried once more.
    """
    import requests  # a tenth of a second, so not at the top
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    retry = Retry(
        total=5,
        connect=1,
        read=1,
        status_forcelist=_BUSY,
        backoff_factor=5,
        raise_on_status=False,  # the last answer is judged by its status here
        respect_retry_after_header=False,  # it may ask for hours
    )
    session = requests.Session()
    session.headers.update({"User-Agent": "open_clip_mmrl", "Accept-Encoding": "identity"})
    for scheme in ("http://", "https://"):  # a redirect to any other scheme is refused
        session.adapters[scheme] = HTTPAdapter(max_retries=retry)
    found: list[Response | Exception] = []

    def work() -> None:
        try:
            found.append(_follow(session, url))
        except Exception as error:
            found.append(error)

    # A timeout is that of one read: headers may come byte by byte without end. Nobody waits for a
    # daemon.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    with _naming(url):
        if not found:
            raise TimeoutError(f"after {ANSWER_SECONDS} s the server has not answered")
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]


def _follow(session: Session, url: str) -> Response:
    """Return the answer at the end of redirects, whose own contents, of any size, are not read."""
    from requests import Request

    for _ in range(_MAX_REDIRECTS):
        # Not `session.get`, which reads what comes with a redirect into memory.
        options: Any = session.merge_environment_settings(url, {}, True, None, None)
        request = session.prepare_request(Request("GET", url))
        answer = session.get_adapter(url).send(request, timeout=TIMEOUT, **options)
        target = session.get_redirect_target(answer)
        if target is None:
            return answer
        answer.close()
        url = urljoin(url, target)
    raise OSError(f"more than {_MAX_REDIRECTS} redirects, the last to {url}")


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
    body = io.BufferedReader(_Body(answer))
    with _naming(url):
        # Not `iter_content`, which waits until a whole piece is there.
        while chunk := body.read1(_CHUNK):
            yield chunk


class _Body(io.RawIOBase):
    """The body of an answer; TimeoutError where it comes too slowly.

    The time that its reader takes between two reads does not count.
    """

    def __init__(self, answer: Response) -> None:
        self._answer = answer
        self._seconds, self._bytes = 0.0, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read what has come, at most as much as fits."""
        start = time.monotonic()
        data = self._answer.raw.read1(len(buffer))
        self._seconds += time.monotonic() - start
        self._bytes += len(data)
        if self._seconds > SLOW_SECONDS:
            if data and self._bytes < SLOW_BYTES:
                raise TimeoutError(f"the server sent {self._bytes} bytes in {self._seconds:.0f} s")
            self._seconds, self._bytes = 0.0, 0
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._answer.close()
        super().close()


@contextmanager
def _naming(url: str) -> Generator[None, None, None]:
    """Make whatever goes wrong on the network a ValueError that names the URL."""
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (OSError, ValueError, HTTPError) as error:  # all of requests' own are OSErrors
        raise ValueError(f"{url} cannot be fetched: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return the innermost text: requests wraps urllib3's errors, and urllib3 the socket's."""
    inner = getattr(error, "reason", None) or next(iter(error.args), "")
    return _reason(inner) if isinstance(inner, Exception) else str(inner or error)
