"""What a server's body says, whatever it is made of: every type is looked at, nothing is believed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from hpc_trex.agents.llm.pricing import told
from hpc_trex.models import LlmUsage

#: Longest body that is read: an answer has some hundred thousand bytes.
MOST_BYTES = 16_000_000


class Reply(NamedTuple):
    """A reply that came to its end."""

    text: str = ""
    finish: str = ""
    """``stop``, ``tool_calls``, ``length``, ...; empty: it was cut on its way."""
    usage: LlmUsage = LlmUsage()
    tool: str | None = None
    """The function that was called; None: none was."""
    arguments: str = ""
    refusal: str = ""
    thought: str = ""
    """What some servers part from the text; the only place of the answer where their parsers err."""


class NotAReply(Exception):
    """A body that is no reply; ``words`` say what it is."""

    def __init__(self, words: str, *, status: int = 0, usage: LlmUsage | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.status = status
        self.usage = usage or LlmUsage()


def read(kind: str, body: Iterable[bytes]) -> Reply:
    """Return the reply in a body of this content type. Raises NotAReply."""
    if "text/event-stream" in kind.lower():
        return _streamed(_events(_lines(_bounded(body))))
    return whole(read_json(body))


def read_json(body: Iterable[bytes]) -> Any:
    """Return the JSON of a body. Raises NotAReply, with the title of what is a web page instead."""
    raw = b"".join(_bounded(body)).decode(errors="replace")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        title = re.search(r"<title[^>]{0,200}>(.{0,200}?)</title>", raw[:20_000], re.DOTALL | re.IGNORECASE)
        what = f"a web page ({title[1].strip()})" if title else f"{clean(raw)[:80]!r}"
        raise NotAReply(f"the server answered with {what}, not with a completion") from None


def whole(body: object) -> Reply:
    """Return the reply in a body that came in one piece. Raises NotAReply."""
    if not isinstance(body, dict):
        raise NotAReply("the server answered with JSON that is no completion")
    _refuse_error(body)
    if isinstance(body.get("output"), list):
        return _responses(body)
    choice = _first(body.get("choices"))
    message = choice.get("message") if choice else None
    if choice is None or not isinstance(message, dict):
        raise NotAReply("the server's completion has no choices", usage=told(body.get("usage")))
    call = _first(message.get("tool_calls"))
    function = call.get("function") if call else None
    function = function if isinstance(function, dict) else {}
    return Reply(
        text=_text(message.get("content")),
        finish=_text(choice.get("finish_reason")),
        usage=told(body.get("usage")),
        tool=_text(function.get("name")) if call else None,
        arguments=_arguments(function.get("arguments")),
        refusal=_text(message.get("refusal")),
        thought=_text(message.get("reasoning_content") or message.get("reasoning")),
    )


def _streamed(events: Iterable[dict[str, Any]]) -> Reply:
    """Return the reply that a stream adds up to; its finish is empty where the stream ended before it did."""
    parts: dict[str, list[str]] = {"text": [], "arguments": [], "refusal": [], "thought": []}
    finish, tool, usage = "", None, LlmUsage()
    for event in events:
        _refuse_error(event)
        if isinstance(event.get("usage"), dict):
            usage = told(event["usage"])
        choice = _first(event.get("choices"))
        if choice is None:
            continue
        finish = _text(choice.get("finish_reason")) or finish
        found = choice.get("delta")
        delta: dict[str, Any] = found if isinstance(found, dict) else {}
        parts["text"].append(_text(delta.get("content")))
        parts["refusal"].append(_text(delta.get("refusal")))
        parts["thought"].append(_text(delta.get("reasoning_content") or delta.get("reasoning")))
        call = _first(delta.get("tool_calls"))
        if call is not None and call.get("index") in (None, 0) and isinstance(call.get("function"), dict):
            tool = (tool or "") + _text(call["function"].get("name"))
            parts["arguments"].append(_arguments(call["function"].get("arguments")))
    joined = {name: "".join(pieces) for name, pieces in parts.items()}
    return Reply(finish=finish, usage=usage, tool=tool, **joined)


def _responses(body: dict[str, Any]) -> Reply:
    texts, refusals, tool, arguments = [], [], None, ""
    for item in body["output"]:
        if not isinstance(item, dict):
            continue
        if item.get("type") == "function_call" and tool is None:
            tool, arguments = _text(item.get("name")), _arguments(item.get("arguments"))
        pieces = item.get("content") if item.get("type") == "message" else None
        for piece in pieces if isinstance(pieces, list) else []:
            if isinstance(piece, dict):
                texts.append(_text(piece.get("text")))
                refusals.append(_text(piece.get("refusal")))
    cut = body.get("incomplete_details")
    reason = _text(cut.get("reason")) if isinstance(cut, dict) else ""
    finish = {"completed": "stop", "incomplete": "length" if "token" in reason else reason}.get(
        _text(body.get("status")), ""
    )
    return Reply("".join(texts), finish, told(body.get("usage")), tool, arguments, "".join(refusals))


def _refuse_error(body: dict[str, Any]) -> None:
    """Raise NotAReply for an error that came with status 200."""
    error = body.get("error")
    if not error:
        return
    code = error.get("code") if isinstance(error, dict) else None
    raise NotAReply(words_of(body), status=code if isinstance(code, int) and not isinstance(code, bool) else 0)


def words_of(body: object) -> str:
    """Return a server's own words in the body of an error, the field that it names first."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or error.get("msg") or error.get("error")
        field = error.get("param")
        if isinstance(message, list):  # FastAPI: which fields, and what of them; never the whole request
            message = "; ".join(f"{item.get('loc')}: {item.get('msg')}" for item in message if isinstance(item, dict))
        text = message if isinstance(message, str) else json.dumps(error, default=str)
        return clean(f"{field}: {text}" if isinstance(field, str) and field else text)[:1000]
    return clean(str(error or ""))[:1000]


def clean(text: str) -> str:
    """Return a text that can be written down: half characters are replaced."""
    return text.encode("utf-8", "replace").decode()


def _bounded(body: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for piece in body:
        size += len(piece)
        if size > MOST_BYTES:
            raise NotAReply(f"the server's answer has no end: over {MOST_BYTES:,} bytes")
        yield piece


def _lines(body: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in body:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    yield rest


def _events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a stream up to its marker ``[DONE]``."""
    for line in lines:
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or not data:
            continue
        if data == b"[DONE]":
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            raise NotAReply("the server's stream holds what is no JSON") from None
        if isinstance(event, dict):
            yield event


def _first(items: object) -> dict[str, Any] | None:
    return items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else None


def _text(value: object) -> str:
    """Return a text; of a list of parts, their texts; of anything else, nothing."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return clean(value) if isinstance(value, str) else ""


def _arguments(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict) else _text(value)
