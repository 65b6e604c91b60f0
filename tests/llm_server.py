"""A language model's server that does as a script says: real HTTP on loopback, Chat Completions and Responses.

    with LlmServer([Status(500), {"direction": "data"}]) as server:
        settings = LlmSettings(model="tiny", base_url=server.url)

The script is a list, one behaviour a request, the last one for all that follow; or one behaviour for all. A dict, or a
function from the request to a dict, is a good answer given in the form that was asked for (streamed or not, as a tool
call or as text); a function may also return a behaviour. ``server.requests`` holds what was asked.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple


class Request(NamedTuple):
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    """Their names in lower case."""
    body: dict[str, Any]

    @property
    def rung(self) -> str:
        """How the form of the answer was asked for."""
        wanted = self.body.get("response_format") or self.body.get("text", {}).get("format") or {}
        return "tool" if "tools" in self.body else wanted.get("type", "text")

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body.get("messages") or self.body.get("input") or []

    @property
    def text(self) -> str:
        """All that was said so far."""
        return "\n".join(str(message.get("content")) for message in self.messages)

    @property
    def schema(self) -> str:
        """The name of the schema, where the request tells it (``json_schema``)."""
        wanted = (
            self.body.get("response_format", {}).get("json_schema") or self.body.get("text", {}).get("format") or {}
        )
        return str(wanted.get("name", ""))


@dataclass
class Good:
    """An answer: a dict, a text as the model writes it, or a function of the request to either."""

    answer: dict[str, Any] | str | Callable[[Request], Any]
    tokens: tuple[int, int] | None = (100, 20)
    """In and out; None: the server tells no usage."""
    cached: int | None = None
    finish: str | None = "stop"
    tool: str | None = None
    """Call a function of this name, whatever was asked for."""
    cut: bool = False
    """Close the connection in the middle of the answer."""
    delay: float = 0.0
    refusal: str | None = None

    def text(self, request: Request) -> str:
        made = self.answer(request) if callable(self.answer) else self.answer
        return made if isinstance(made, str) else json.dumps(made)

    @property
    def usage(self) -> dict[str, Any] | None:
        if self.tokens is None:
            return None
        used = {"prompt_tokens": self.tokens[0], "completion_tokens": self.tokens[1], "total_tokens": sum(self.tokens)}
        return used if self.cached is None else used | {"prompt_tokens_details": {"cached_tokens": self.cached}}


@dataclass
class Status:
    """A refusal."""

    code: int
    message: str = "no"
    headers: Mapping[str, str] = field(default_factory=dict)
    param: str | None = None
    error_code: str | None = None


@dataclass
class Raw:
    """A body of any kind."""

    body: str
    kind: str = "application/json"
    code: int = 200


@dataclass
class Trickle:
    """An answer without end: a few bytes now and then, in the body or already in the headers."""

    pause: float = 0.02
    place: str = "body"
    kind: str = "text/event-stream"
    piece: bytes = b": still here\n\n"


@dataclass
class Silence:
    """Nothing, and the connection stays open."""


@dataclass
class HangUp:
    """The connection is closed without a byte."""


LOGIN_PAGE = Raw("<html><head><title>Please log in</title></head><body>...</body></html>", "text/html; charset=utf-8")
BROKEN_JSON = Raw('{"id": "1", "choices": [{"index": 0, "mess')
Behaviour = Good | Status | Raw | Trickle | Silence | HangUp | dict[str, Any] | Callable[[Request], Any]
EVERYTHING = ("json_schema", "json_object", "tool", "stream", "stream_options", "max_tokens", "responses")


class LlmServer:
    """Runs while its ``with`` block does. ``url`` ends in ``/v1``; other processes reach it through ``port``.

    ``supports``: of :data:`EVERYTHING`, what the server knows; the rest is answered with 400. ``key``: other keys get 401.
    """

    def __init__(
        self,
        script: Behaviour | Sequence[Behaviour],
        *,
        supports: Sequence[str] = EVERYTHING,
        key: str | None = None,
        model: str = "tiny",
        context: int | None = 32_768,
        port: int = 0,
    ) -> None:
        self.script: list[Behaviour] = list(script) if isinstance(script, (list, tuple)) else [script]
        self.supports = set(supports)
        self.key = key
        self.model = model
        self.context = context
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"owner": self}))

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> LlmServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def next(self, request: Request) -> Behaviour:
        """Note a request and return what to do about it."""
        with self._lock:
            self.requests.append(request)
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def objection(self, request: Request) -> Status | None:
        """Return the refusal of a request that asks for what the server does not know."""
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return Status(401, f"Incorrect API key provided: {request.headers.get('Authorization', '')[7:]}")
        body = request.body
        if request.rung != "text" and request.rung not in self.supports:
            name = "tools" if request.rung == "tool" else "response_format"
            return Status(400, f"{name} {request.rung} is not supported by this server", param=name)
        for name in ("stream_options", "stream", "max_tokens"):
            if body.get(name) and name not in self.supports:
                words = "use 'max_completion_tokens' instead" if name == "max_tokens" else "unknown field"
                return Status(400, f"Unsupported parameter: {name!r}: {words}")
        return Status(404, "Not Found") if "responses" in request.path and "responses" not in self.supports else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent about clients that go away; say anything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: LlmServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""

    def do_GET(self) -> None:
        if self.owner.key is not None and self.headers.get("Authorization") != f"Bearer {self.owner.key}":
            return self._status(Status(401, "Incorrect API key"))
        entry: dict[str, Any] = {"id": self.owner.model, "object": "model"}
        if self.owner.context is not None:
            entry["max_model_len"] = self.owner.context
        return self._json(200, {"object": "list", "data": [entry]})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, json.loads(raw))
        behaviour = self.owner.objection(request)
        if behaviour is None:
            behaviour = self.owner.next(request)
        else:
            self.owner.requests.append(request)
        if callable(behaviour):
            made = behaviour(request)
            behaviour = Good(made) if isinstance(made, (dict, str)) else made
        if isinstance(behaviour, dict):
            behaviour = Good(behaviour)
        with contextlib.suppress(ConnectionError):
            self._behave(behaviour, request)

    def _behave(self, behaviour: Any, request: Request) -> None:
        if isinstance(behaviour, Status):
            self._status(behaviour)
        elif isinstance(behaviour, Raw):
            self._send(behaviour.code, behaviour.body.encode(), behaviour.kind)
        elif isinstance(behaviour, Trickle):
            self._trickle(behaviour)
        elif isinstance(behaviour, Silence):
            self.owner.ended.wait()
            self.close_connection = True
        elif isinstance(behaviour, HangUp):
            self.close_connection = True
        else:
            self._good(behaviour, request)

    def _good(self, good: Good, request: Request) -> None:
        self.owner.ended.wait(good.delay)
        if request.path.endswith("/responses"):
            return self._send(200, json.dumps(_response(good, request)).encode(), cut=good.cut)
        if request.body.get("stream"):
            return self._stream(_events(good, request), cut=good.cut)
        return self._send(200, json.dumps(_completion(good, request)).encode(), cut=good.cut)

    def _status(self, status: Status) -> None:
        error = {"message": status.message, "type": "error", "param": status.param, "code": status.error_code}
        self._json(status.code, {"error": error}, status.headers)

    def _json(self, code: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self._send(code, json.dumps(body).encode(), headers=headers)

    def _send(
        self,
        code: int,
        body: bytes,
        kind: str = "application/json",
        *,
        headers: Mapping[str, str] | None = None,
        cut: bool = False,
    ) -> None:
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def _stream(self, events: Iterator[dict[str, Any]], *, cut: bool) -> None:
        self._begin("text/event-stream")
        sent = list(events)
        for event in sent[: len(sent) // 2] if cut else sent:
            self._chunk(f"data: {json.dumps(event)}\n\n".encode())
        if cut:
            self.close_connection = True
            return
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _trickle(self, trickle: Trickle) -> None:
        self.close_connection = True
        if trickle.place == "headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        else:
            self._begin(trickle.kind)
        while not self.owner.ended.is_set():
            if trickle.place == "headers":
                self.wfile.write(b"x")
                self.wfile.flush()
            else:
                self._chunk(trickle.piece)
            time.sleep(trickle.pause)


def _call(good: Good, request: Request) -> str | None:
    """Return the name of the function to call; None: the answer is text."""
    return good.tool or (request.body["tool_choice"]["function"]["name"] if request.rung == "tool" else None)


def _completion(good: Good, request: Request) -> dict[str, Any]:
    text, name = good.text(request), _call(good, request)
    message: dict[str, Any] = {"role": "assistant", "content": None if name else text}
    if name:
        message["tool_calls"] = [{"id": "1", "type": "function", "function": {"name": name, "arguments": text}}]
    if good.refusal:
        message |= {"content": None, "refusal": good.refusal}
    finish = "tool_calls" if name and good.finish == "stop" else good.finish
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "tiny"}
    return body | {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": good.usage}


def _events(good: Good, request: Request) -> Iterator[dict[str, Any]]:
    text, name = good.text(request), _call(good, request)
    base = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}

    def event(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return base | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield event({"role": "assistant", "content": ""})
    if good.refusal:
        yield event({"refusal": good.refusal})
        text = ""
    if name:
        function = {"name": name, "arguments": ""}
        yield event({"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": function}]})
    step = max(1, len(text) // 5)
    for place in range(0, len(text), step):
        piece = text[place : place + step]
        delta = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} if name else {"content": piece}
        yield event(delta)
    if good.finish is not None:
        yield event({}, "tool_calls" if name and good.finish == "stop" else good.finish)
    if good.usage and (request.body.get("stream_options") or {}).get("include_usage"):
        yield base | {"choices": [], "usage": good.usage}


def _response(good: Good, request: Request) -> dict[str, Any]:
    text = good.text(request)
    if request.rung == "tool":
        output: dict[str, Any] = {
            "type": "function_call",
            "name": request.body["tool_choice"]["name"],
            "arguments": text,
        }
    else:
        output = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    usage = {"input_tokens": good.tokens[0], "output_tokens": good.tokens[1]} if good.tokens else None
    cut = {"reason": "max_output_tokens"} if good.finish == "length" else None
    status = "incomplete" if cut else "completed"
    return {
        "id": "1",
        "object": "response",
        "status": status,
        "output": [output],
        "usage": usage,
        "incomplete_details": cut,
    }
