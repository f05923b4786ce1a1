"""The HTTP API of the Hugging Face hub, as far as huggingface_hub uses it to share a folder."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from huggingface_hub import constants, file_download, utils

USER, TOKEN, READ_ONLY = "alice", "hf_write", "hf_read"
_TOKENS = {TOKEN: USER, READ_ONLY: "bob"}


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files):
        content = {**self.files("main"), **files}
        sha = hashlib.sha1(repr((len(self.commits), sorted(content))).encode()).hexdigest()
        self.commits[sha] = content
        self.refs["main"] = sha
        return sha

    def files(self, revision):
        return self.commits.get(self.refs.get(revision, revision), {})


@dataclass
class Hub:
    """What the server holds, and what tests make it do.

    Attributes:
        endpoint: its address.
        repositories: by "user/name".
        objects: large files by their SHA-256.
        log: "METHOD path" of every request.
        uploads: "lfs" or "regular", how .safetensors files have to be sent.
        breaks: downloads to break off half-way.
        failing: status to answer commits with.
    """

    endpoint: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    uploads: str = "lfs"
    breaks: int = 0
    failing: int = 0


class _RefusedError(Exception):
    def __init__(self, status, code="", message=""):
        self.status, self.code, self.message = status, code, message


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def _answer(self, content, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._send(200, body, **headers)

    def _send(self, status, body, length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self):
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.log.append(f"{self.command} {path}")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        try:
            parts = path.strip("/").split("/")
            if path == "/":
                self._answer({})
            elif path == "/api/validate-yaml":
                self._validate(json.loads(body)["content"])
            elif path == "/api/repos/create":
                self._create(json.loads(body))
            elif parts[:2] == ["api", "models"]:
                self._api(f"{parts[2]}/{parts[3]}", parts[4:], body)
            elif path.endswith("/info/lfs/objects/batch"):
                self._batch(json.loads(body))
            elif parts[0] == "lfs":
                if hashlib.sha256(body).hexdigest() != parts[1]:
                    raise _RefusedError(400)
                hub.objects[parts[1]] = body
                self._answer({})
            elif parts[2:3] == ["resolve"]:
                self._resolve(f"{parts[0]}/{parts[1]}", parts[3], "/".join(parts[4:]))
            else:
                raise _RefusedError(404)
        except _RefusedError as error:
            self._send(
                error.status,
                json.dumps({"error": error.message}).encode(),
                X_Error_Code=error.code,
                X_Error_Message=error.message,
            )

    def do_GET(self):
        self._handle()

    def do_HEAD(self):
        self._handle()

    def do_POST(self):
        self._handle()

    def do_PUT(self):
        self._handle()

    @property
    def _user(self):
        return _TOKENS.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _writer(self, namespace):
        if self._user is None:
            raise _RefusedError(401, message="Invalid username or password.")
        if self._user != namespace:
            raise _RefusedError(403, message="You don't have the rights to write here.")

    def _repository(self, name):
        found = self.hub.repositories.get(name)
        if found is None or (found.private and self._user != name.partition("/")[0]):
            status = 401 if self._user is None else 404
            raise _RefusedError(status, "RepoNotFound", "Repository not found")
        return found

    def _validate(self, card):
        """Check what the hub's documentation asks of a card's metadata."""
        _, metadata, _ = card.split("---\n", 2)
        errors = []
        for model in yaml.safe_load(metadata).get("model-index", []):
            for result in model["results"]:
                values = [result["task"]["type"], *result["dataset"].values()]
                values += [metric[key] for metric in result["metrics"] for key in ("type", "value")]
                errors += [{"message": "empty"} for value in values if value in (None, "")]
        self._answer({"errors": errors, "warnings": []})

    def _create(self, asked):
        self._writer(asked["organization"])
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.hub.endpoint}/{name}"
        if name in self.hub.repositories:
            self._send(409, json.dumps({"url": url, "error": "it exists"}).encode())
            return
        private = asked.get("visibility") == "private" or asked.get("private") is True
        self.hub.repositories[name] = Repository(private=private)
        self._answer({"url": url})

    def _api(self, name, parts, body):
        repository = self._repository(name)
        if not parts or parts[0] == "revision":
            revision = parts[1] if parts else "main"
            names = [{"rfilename": file} for file in repository.files(revision)]
            sha, private = repository.refs.get(revision), repository.private
            self._answer({"id": name, "sha": sha, "siblings": names, "private": private})
            return
        self._writer(name.partition("/")[0])
        if parts[0] == "preupload":
            files = [{"path": f["path"], "shouldIgnore": False} for f in json.loads(body)["files"]]
            for file in files:
                is_large = file["path"].endswith(".safetensors")
                file["uploadMode"] = self.hub.uploads if is_large else "regular"
            self._answer({"files": files})
        elif parts[0] == "tag":
            tag = json.loads(body)["tag"]
            repository.refs[tag] = repository.refs.get(parts[1], parts[1])
            self._answer({})
        elif parts[0] == "commit":
            if self.hub.failing:
                raise _RefusedError(self.hub.failing, message="The server has a problem.")
            sha = repository.commit(self._files(body))
            url = f"{self.hub.endpoint}/{name}/commit/{sha}"
            self._answer({"commitUrl": url, "commitOid": sha, "success": True})

    def _files(self, body):
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                assert value["encoding"] == "base64"
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        return files

    def _batch(self, asked):
        def one(wanted):
            upload = {"href": f"{self.hub.endpoint}/lfs/{wanted['oid']}"}
            return {**wanted, "actions": {"upload": upload}}

        objects = [one(wanted) for wanted in asked["objects"]]
        self._answer({"transfer": "basic", "objects": objects})

    def _resolve(self, name, revision, file):
        repository = self._repository(name)
        sha = repository.refs.get(revision, revision)
        if sha not in repository.commits:
            raise _RefusedError(404, "RevisionNotFound", "Invalid rev id")
        content = repository.commits[sha].get(file)
        headers = {"X_Repo_Commit": sha}
        if content is None:
            self._send(404, b"{}", X_Error_Code="EntryNotFound", **headers)
            return
        headers |= {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept_Ranges": "bytes"}
        start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        rest = content[start:]
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        status = 206 if start else 200
        if self.command == "GET" and self.hub.breaks:
            self.hub.breaks -= 1
            self.close_connection = True
            self._send(status, rest[: len(rest) // 2], length=len(rest), **headers)
            return
        self._send(status, rest, **headers)

    def log_message(self, *args):
        pass


def reset_sessions():
    """Let huggingface_hub before 1.0 notice whether it is offline, as at its import."""
    getattr(utils, "reset_sessions", bool)()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine, that huggingface_hub takes for its own; nobody is logged in."""
    found = Hub()
    handler = type("Handler", (_Handler,), {"hub": found})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        found.endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", found.endpoint)
        template = found.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        reset_sessions()
        try:
            yield found
        finally:
            server.shutdown()
