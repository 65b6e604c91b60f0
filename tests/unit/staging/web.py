"""A real HTTP server on loopback for single files: ranges, broken transfers, files that change or go away."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """The server, its files by path, and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.refused: dict[str, int] = {}
        """Path → status that it is answered with."""
        self.cut: dict[str, int] = {}
        """Path → bytes after which an answer is cut off."""
        self.asked: list[tuple[str, str, str]] = []
        """(method, path, Range)."""
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_error(405)  # as addresses that are signed for a download answer

            def do_GET(self) -> None:
                web.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range", "")
        self.asked.append((request.command, request.path, asked))
        raw = self.files.get(request.path, b"")
        status = self.refused.get(request.path, 200 if request.path in self.files else 404)
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked and status == 200 else 0
        if start and start >= len(raw):
            status, body = 416, b""
        else:
            status, body = (206 if start else status), raw[start:] if status == 200 else b""
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{len(raw) - 1}/{len(raw)}")
        request.end_headers()
        if request.command == "GET":
            cut = self.cut.get(request.path)
            request.wfile.write(body if cut is None else body[: max(0, cut - start)])
            request.close_connection = request.close_connection or cut is not None
