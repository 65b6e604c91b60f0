"""A real HTTP server on loopback that speaks the Hub's routes, and misbehaves where a test wants it to."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FIRST, SECOND = "a1" * 20, "b2" * 20


@dataclass
class Repository:
    """One repository. ``refs``: branch → commit."""

    files: dict[str, bytes]
    refs: dict[str, str] = field(default_factory=lambda: {"main": FIRST})
    licence: str = "apache-2.0"
    gated: bool = False
    large: tuple[str, ...] = ()
    """Names that the hub keeps as large files, with their SHA-256."""
    claims: dict[str, int] = field(default_factory=dict)
    """Sizes that the hub tells, where they are not the real ones."""


def git_id(raw: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()


class Hub:
    """The server, what it was asked, and what goes wrong in it."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[tuple[str, str, str]] = []
        """(method, path, Range)."""
        self.cut: dict[str, int] = {}
        """File name → bytes after which every answer to a GET is cut off."""
        self.damage: set[str] = set()
        """Names whose bytes are spoilt on the way."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def downloads(self) -> list[str]:
        """The files of which bytes were asked for."""
        return [path.rsplit("/", 1)[-1] for method, path, _ in self.asked if method == "GET" and "/resolve/" in path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.split("?")[0]
        self.asked.append((request.command, path, request.headers.get("Range", "")))
        parts = path.strip("/").split("/")
        if not path.strip("/"):
            return _say(request, 200, b"hub")
        api = parts[0] == "api"
        rest = parts[1:] if api else parts
        kind = rest.pop(0) if rest and rest[0] in ("models", "datasets") else "models"
        name, rest = "/".join(rest[:2]), rest[2:]
        found = self.repositories.get(f"{kind}/{name}")
        if found is None:
            return _say(request, 404, code="RepoNotFound")
        if rest[:1] == ["commits"]:
            history = [{"id": one, "title": one, "message": "", "date": "2026-01-01T00:00:00.000Z", "authors": []}
                       for one in dict.fromkeys(found.refs.values())]  # fmt: skip
            return _say(request, 200, json.dumps(history).encode())
        if rest[:1] == ["resolve"] or rest[:1] == ["tree"] or rest[:1] == ["revision"]:
            commit = found.refs.get(rest[1], rest[1])
        else:
            commit = found.refs["main"]
        if commit not in found.refs.values():
            return _say(request, 404, code="RevisionNotFound")
        if rest[:1] == ["resolve"]:
            return self._file(request, found, commit, "/".join(rest[2:]))
        if rest[:1] == ["tree"]:
            return _say(
                request, 200, json.dumps([_entry(found, file, raw) for file, raw in found.files.items()]).encode()
            )
        siblings = []
        for file in found.files:
            entry = _entry(found, file, found.files[file])
            siblings.append({"rfilename": file, "size": entry["size"], "blobId": entry["oid"]}
                            | ({"lfs": {"size": entry["size"], "sha256": entry["lfs"]["oid"], "pointerSize": 130}} if "lfs" in entry else {}))  # fmt: skip
        body = {
            "id": name,
            "sha": commit,
            "siblings": siblings,
            "tags": [f"license:{found.licence}"],
            "gated": found.gated,
        }
        return _say(request, 200, json.dumps(body).encode())

    def _file(self, request: BaseHTTPRequestHandler, found: Repository, commit: str, name: str) -> None:
        if found.gated:
            return _say(request, 403, code="GatedRepo")
        raw = found.files.get(name)
        if raw is None:
            return _say(request, 404, code="EntryNotFound")
        etag = hashlib.sha256(raw).hexdigest() if name in found.large else git_id(raw)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if name in self.damage:
            raw = b"?" * len(raw)
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        body = raw[start:]
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(raw) - 1}/{len(raw)}"
        cut = self.cut.get(name)
        return _say(request, 206 if start else 200, body, headers, cut=None if cut is None else max(0, cut - start))


def _entry(found: Repository, name: str, raw: bytes) -> dict:
    size = found.claims.get(name, len(raw))
    entry = {"type": "file", "path": name, "size": size, "oid": git_id(raw)}
    if name in found.large:
        entry["lfs"] = {"oid": hashlib.sha256(raw).hexdigest(), "size": size, "pointerSize": 130}
    return entry


def _say(
    request: BaseHTTPRequestHandler,
    status: int,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    code: str = "",
    cut: int | None = None,
) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body)))
    for key, value in (headers or {}).items():
        request.send_header(key, value)
    if code:
        request.send_header("X-Error-Code", code)
        request.send_header("X-Error-Message", code)
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            request.close_connection = True
