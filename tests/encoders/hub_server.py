"""A hub on this machine: the routes that fetching weights needs, what was asked, and connections that break."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class HubServer:
    """What it holds, and what it was asked.

    Attributes:
        url: where it listens.
        commits: {(repository, 40 hex digits): {file name: content}}.
        refs: {(repository, branch): 40 hex digits}.
        plain: {path: content} of files outside the hub.
        cut_after: {path: bytes after which the next answer breaks off}, each once.
        elsewhere: paths of the hub that are redirected to ``localhost``, another host than ``127.0.0.1``.
        gated: repositories that need the token ``secret``.
        busy: {path: how many more times it is answered by 503}.
        requests: (method, path, headers) of all that was asked.
    """

    url: str = ""
    commits: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    refs: dict[tuple[str, str], str] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    cut_after: dict[str, int] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    busy: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def put(self, repo: str, files: dict[str, bytes], *, branch: str = "main") -> str:
        """A new commit of a repository; its revision."""
        revision = hashlib.sha1(repr((repo, sorted(files.items()))).encode()).hexdigest()
        self.commits[repo, revision] = files
        self.refs[repo, branch] = revision
        return revision

    def asked(self, method: str = "GET") -> list[str]:
        """The paths of the requests so far."""
        return [path for how, path, _ in self.requests if how == method]


class _Answers(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, dict(self.headers)))
        if self.hub.busy.get(path, 0) > 0:
            self.hub.busy[path] -= 1
            self._send(path, None, status=503)
        elif path.startswith("/api/models/"):
            self._describe(path.removeprefix("/api/models/"))
        elif "/resolve/" in path and not path.startswith("/cdn/"):
            self._resolve(path)
        else:
            self._send(path, self.hub.plain.get(path.removeprefix("/cdn")))

    def _describe(self, rest: str) -> None:
        repo, _, ref = rest.partition("/revision/")
        revision = self.hub.refs.get((repo, ref), ref)
        files = self.hub.commits.get((repo, revision))
        if files is None:
            return self._send("", None)
        document = {"sha": revision, "siblings": [{"rfilename": name} for name in files]}
        return self._send("", json.dumps(document).encode())

    def _resolve(self, path: str) -> None:
        repo, _, rest = path.removeprefix("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if repo in self.hub.gated and self.headers.get("Authorization") != "Bearer secret":
            return self._send(path, None, status=401)
        content = self.hub.commits.get((repo, revision), {}).get(name)
        if path in self.hub.elsewhere and content is not None:
            self.hub.plain[path] = content
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{urlsplit(self.hub.url).port}/cdn{path}")
            self.send_header("X-Repo-Commit", revision)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        return self._send(path, content, {"X-Repo-Commit": revision})

    def _send(
        self, path: str, content: bytes | None, headers: dict[str, str] | None = None, status: int = 404
    ) -> None:
        if content is None:
            self.send_response(status)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        first = 0
        if "Range" in self.headers and self.headers.get("If-Range", etag) == etag:
            first = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if first >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        for name, value in {"ETag": etag, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if self.command == "HEAD":
            return None
        until = self.hub.cut_after.pop(path, len(content))
        self.wfile.write(content[first : max(first, until)])
        if until < len(content):
            self.close_connection = True
        return None

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[HubServer]:
    hub = HubServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
