"""A web server on this machine, and a cache of shards of its own."""

from __future__ import annotations

import gzip
import http.server
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; every request is noted in `log`."""

    def __init__(self, *args, log, **kwargs):
        self.log = log
        super().__init__(*args, **kwargs)

    def do_GET(self):
        self.log.append(self.path)
        if self.path == "/private":
            self.send_error(401)
        elif self.path == "/down":
            self.send_error(503)
        elif self.path.startswith("/elsewhere"):
            self.send_response(302)
            elsewhere = {
                "ftp": f"ftp://127.0.0.1:{self.server.server_port}/0.tar",
                "file": "file:///etc/hostname",
                "endless": "/0.tar",
                "nowhere": "http://[::1",
                "bytes": "http://\xff/",
                "again": self.path,
            }
            kind = self.path.rpartition("/")[2]
            self.send_header("Location", elsewhere[kind])
            self.end_headers()
            with suppress(OSError):  # as below
                while kind == "endless":
                    self.wfile.write(bytes(100_000))
        elif self.path == "/continue":
            with suppress(OSError):
                while True:
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    time.sleep(0.01)
        elif self.path == "/nothing":
            self.send_response(204)
            self.end_headers()
        elif self.path.startswith("/busy") and self.log.count(self.path) < 3:
            self.send_error(503)
        elif self.path.startswith("/short"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)  # and the connection is closed
        elif self.path.startswith("/without-length/"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(Path(self.directory, self.path.rpartition("/")[2]).read_bytes())
        elif self.path.startswith(("/endless", "/slow")):
            self.send_response(200)
            self.end_headers()
            slow = self.path.startswith("/slow")
            with suppress(OSError):  # until the other side has had enough
                while True:
                    self.wfile.write(b"1" if slow else bytes(100_000))
                    time.sleep(0.01 * slow)
        elif self.path.startswith("/squeezed"):
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(gzip.compress(bytes(10**6)))
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@contextmanager
def serve(folder):
    """The address of a server on this machine that serves `folder`, and its log."""
    log = []
    handler = partial(Handler, directory=str(folder), log=log)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", log
        finally:
            server.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("OPEN_CLIP_MMRL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def site(tmp_path, cache):
    (tmp_path / "site").mkdir()
    with serve(tmp_path / "site") as (address, log):
        yield tmp_path / "site", address, log
