"""JSON objects in whatever a model wraps them in: code fences, thoughts, prose, a call written as text."""

from __future__ import annotations

import json
import re
from typing import Any

_OPEN = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)
_CLOSE = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_LANGUAGE = re.compile(r"[\w-]*[ \t]*\r?\n")
#: Places where an object may begin that are tried: a text of brackets must not take for ever.
MOST_STARTS = 200
_ENVELOPES = ({"name", "arguments"}, {"name", "parameters"})


def objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects in a text, the likeliest answer first: the whole text, fenced ones, then the last of the prose.

    What stands after the last thought counts; only where that holds none, what stands before the first.
    """
    closed = 0
    for match in _CLOSE.finditer(text):
        closed = match.end()
    before = _OPEN.split(text, maxsplit=1)[0] if closed else ""
    return _outside_thoughts(_OPEN.split(text[closed:], maxsplit=1)[0]) or _outside_thoughts(before)


def _outside_thoughts(text: str) -> list[dict[str, Any]]:
    found = []
    for piece in (text, *reversed(text.split("```")[1::2])):
        language = _LANGUAGE.match(piece)
        value = _parsed(piece[language.end() :].strip() if language else piece.strip())
        if isinstance(value, str):  # an object that was encoded twice
            value = _parsed(value)
        if isinstance(value, dict):
            found.append(value)
    if not found:
        found = _in_prose(text)
    return [inner for value in found for inner in _opened(value)]


def _parsed(text: str) -> Any:
    """Return the value of a JSON text; None where it is none, or holds what JSON does not (NaN)."""
    try:
        return json.loads(text, parse_constant=_refuse, strict=False)
    except (ValueError, RecursionError):
        return None


def _refuse(word: str) -> None:
    raise ValueError(word)


def _in_prose(text: str) -> list[dict[str, Any]]:
    decoder = json.JSONDecoder(parse_constant=_refuse, strict=False)
    found: list[dict[str, Any]] = []
    position = text.find("{")
    for _ in range(MOST_STARTS):
        if position < 0:
            break
        try:
            value, end = decoder.raw_decode(text, position)
            found.append(value)
        except (ValueError, RecursionError):
            end = position + 1
        position = text.find("{", end)
    return found[::-1]


def _opened(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an object, after what it carries where it is a tool call written as text."""
    if set(value) in _ENVELOPES:
        inner = value.get("arguments", value.get("parameters"))
        inner = _parsed(inner) if isinstance(inner, str) else inner
        if isinstance(inner, dict):
            return [inner, value]
    return [value]
