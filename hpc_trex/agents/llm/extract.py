"""JSON objects in whatever a model wraps them in: code fences, thoughts, prose, a call written as text."""

from __future__ import annotations

import json
import re
from typing import Any

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_END_OF_THOUGHT = re.compile(r".*</(?:think|thinking|reasoning)>", re.DOTALL | re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"<(?:think|thinking|reasoning)>.*", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
#: Places where an object may begin that are tried: a text of brackets must not take for ever.
MOST_STARTS = 200
_ENVELOPES = ({"name", "arguments"}, {"name", "parameters"})


def objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects in a text, the likeliest answer first: the whole text, fenced ones, then the last of the prose."""
    text = _OPEN_THOUGHT.sub("", _END_OF_THOUGHT.sub("", _THOUGHT.sub("", text))).strip()
    found = []
    for piece in (text, *reversed(_FENCE.findall(text))):
        value = _parsed(piece.strip())
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
