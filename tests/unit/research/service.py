"""A real HTTP server on loopback that answers as a script says: well, late, wrongly, too much, or not at all."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, urlsplit


@dataclass
class Say:
    """One answer. ``how``: whole; silent (takes the request and says nothing); trickle (a header byte now and then, for ever);
    endless (a body without end); cut (half a body); noise (no HTTP).
    """

    body: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    how: Literal["whole", "silent", "trickle", "endless", "cut", "noise"] = "whole"
    seconds: float = 0.0
    """Wait before it."""


@dataclass
class Asked:
    """One request as it came."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    at: float


class Service:
    """The server. ``script`` is said line by line, the last one again and again."""

    def __init__(self) -> None:
        self.script: list[Say] = [Say()]
        self.asked: list[Asked] = []
        self.at_once = 0
        """Most requests at the same time."""
        self._now, self._lock, self.over = 0, threading.Lock(), threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *args: None  # type: ignore[method-assign] # clients that give up are the test
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def says(self, *script: Say | str | dict | list) -> None:
        """Set the script; what is no :class:`Say` is a good answer (JSON, if it is no text)."""
        self.script = [
            one if isinstance(one, Say) else Say(one if isinstance(one, str) else json.dumps(one)) for one in script
        ]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        with self._lock:
            say = self.script[min(len(self.asked), len(self.script) - 1)]
            self.asked.append(Asked(request.path, parse_qs(parts.query), dict(request.headers), time.monotonic()))
            self._now += 1
            self.at_once = max(self.at_once, self._now)
        try:
            self.over.wait(say.seconds)
            self._say(request, say)
        finally:
            with self._lock:
                self._now -= 1

    def _say(self, request: BaseHTTPRequestHandler, say: Say) -> None:
        request.close_connection = True
        raw = say.body.encode()
        if say.how == "silent":
            self.over.wait(30)
        elif say.how == "trickle":
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            self._drip(request)
        elif say.how == "noise":
            request.wfile.write(b"\x00\x01 what is this? \r\n\r\n" * 50)
        else:
            request.send_response(say.status)
            for name, value in say.headers.items():
                request.send_header(name, value)
            if say.how != "endless":
                request.send_header("Content-Length", str(len(raw)))
            request.end_headers()
            if say.how == "endless":
                while not self.over.is_set():
                    request.wfile.write(b"x" * 65536)
            request.wfile.write(raw[: len(raw) // 2] if say.how == "cut" else raw)

    def _drip(self, request: BaseHTTPRequestHandler) -> None:
        while not self.over.wait(0.05):
            request.wfile.write(b"x")
            request.wfile.flush()


class Deaf:
    """A port where packets are dropped, as behind a firewall: its queue of connections is full."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._fill = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(self._socket.getsockname())
            self._fill.append(one)

    def close(self) -> None:
        for one in (*self._fill, self._socket):
            one.close()
