"""One request over http(s), bounded in time, whose errors name the URL."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

if TYPE_CHECKING:
    from requests import Response, Session

TIMEOUT = 60  # seconds without a byte
ANSWER_SECONDS = 300  # until the status is there, with all retries and redirects
SLOW_SECONDS, SLOW_BYTES = 60, 60_000  # of waiting; a server that sends less meanwhile is given up
_BUSY = (408, 429, 500, 502, 503, 504)
_MAX_REDIRECTS = 10


def get(url: str) -> Response:
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
    with naming_url(url):
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


class Body(io.RawIOBase):
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
def naming_url(url: str) -> Generator[None, None, None]:
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
