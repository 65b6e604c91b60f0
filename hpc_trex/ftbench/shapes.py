"""Rows of the usual shapes of training sets, brought into columns: column mapping, instructions, conversations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.render import RowProblem, Templates
from hpc_trex.models import Shape

NAMES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "function": "tool"}
"""Names that other collections give to the four roles."""
TITLES = {"user": "User", "assistant": "Assistant", "tool": "Tool", "system": "System"}


class Shaper:
    """Turns the columns of one row of a source into those of none, one or several rows."""

    def __init__(self, shape: Shape, where: str) -> None:
        self._shape = shape
        self._templates = Templates(shape.columns, f"{where}: shape.columns")

    def __call__(self, columns: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
        """Yield the new columns. Raises :class:`UsageProblem` naming file, line and column."""
        try:
            for made in self._made(columns):
                yield {**made, **self._templates(made)}
        except RowProblem as problem:
            raise UsageProblem(f"{where}: {problem}", hint="mend the row, or shape in the task card") from None

    def _made(self, columns: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if self._shape.kind == "columns":
            yield columns
        elif self._shape.kind == "instruction":
            yield {**columns, **_instruction(columns)}
        else:
            name = self._shape.messages or ("conversations" if "conversations" in columns else "messages")
            pairs = list(_pairs(_messages(columns, name)))
            if not pairs:
                raise RowProblem(f"column {name}: no message of the assistant that answers one")
            for prompt, answer, system in pairs if self._shape.turns == "all" else pairs[-1:]:
                yield {**columns, "prompt": prompt, "answer": answer, "system": system}


def _instruction(columns: dict[str, Any]) -> dict[str, str]:
    told, more = _text(columns, "instruction"), columns.get("input") or ""
    if not isinstance(more, str):
        raise RowProblem(f"column input is {type(more).__name__}, not text")
    output = "response" if "output" not in columns and "response" in columns else "output"
    return {"prompt": f"{told}\n\n{more}" if more.strip() else told, "answer": _text(columns, output)}


def _text(columns: dict[str, Any], name: str) -> str:
    if name not in columns:
        raise RowProblem(f"column {name} is missing; the row has {', '.join(map(repr, sorted(columns)))}")
    if not isinstance(columns[name], str):
        raise RowProblem(f"column {name} is {type(columns[name]).__name__}, not text")
    return str(columns[name])


def _messages(columns: dict[str, Any], name: str) -> Iterator[tuple[str, str]]:
    """Yield role and text of each message; calls of tools stand as JSON after the text."""
    if name not in columns:
        raise RowProblem(f"column {name} is missing; the row has {', '.join(map(repr, sorted(columns)))}")
    given = columns[name]
    if not isinstance(given, list):
        raise RowProblem(f"column {name} is {type(given).__name__}, not a list of messages")
    for place, one in enumerate(given, start=1):
        if not isinstance(one, dict):
            raise RowProblem(f"column {name}, message {place} is {type(one).__name__}, not an object")
        said = one.get("role", one.get("from"))
        role = NAMES.get(str(said), str(said))
        if role not in TITLES:
            raise RowProblem(f"column {name}, message {place}: unknown role {said!r:.40}; known: {', '.join(TITLES)}")
        content, calls = one.get("content", one.get("value")), one.get("tool_calls")
        if content is not None and not isinstance(content, str):
            raise RowProblem(f"column {name}, message {place}: content is {type(content).__name__}, not text")
        parts = [content or "", json.dumps(_called(calls), ensure_ascii=False) if calls else ""]
        yield role, "\n".join(part for part in parts if part)


def _called(calls: Any) -> list[Any]:
    """Return calls as name and arguments, which is what a model has to learn; ids are made up by the server."""
    found = []
    for call in calls if isinstance(calls, list) else [calls]:
        inner = call.get("function", call) if isinstance(call, dict) else call
        found.append(
            {"name": inner.get("name"), "arguments": inner.get("arguments")} if isinstance(inner, dict) else inner
        )
    return found


def _pairs(messages: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Yield (prompt, answer, system) for each message of the assistant that follows another's.

    With one message before it that message is the prompt; else every message begins with who said it.
    """
    system: list[str] = []
    before: list[tuple[str, str]] = []
    for role, text in messages:
        if role == "system":
            system.append(text)
            continue
        if role == "assistant" and before and before[-1][0] != "assistant" and text.strip():
            if len(before) == 1:
                prompt = before[0][1]
            else:
                prompt = "\n".join(f"{TITLES[who]}: {said}" for who, said in before) + f"\n{TITLES['assistant']}:"
            yield prompt, text, "\n".join(system)
        before.append((role, text))
