"""GTA: each dialogue of a user, an agent and its tools becomes one row a step of the agent (task gta)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpc_trex.ftbench.upstream.files import json_of, wrong

#: The file, without its end, that says what the tools are.
TOOLS = "toolmeta"
#: Upstream's agent is told so before its last answer, in other words.
LAST = "User: Sum up what was found and give the final answer. Call no tool."


def read_gta(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the steps of every dialogue of ``dataset.json``: what was said so far, and what the agent does next.

    ``toolmeta.json`` says what the tools are. Columns: ``query`` (number of the dialogue), ``step``, ``kind`` (tool or answer),
    ``tool_list`` (text), ``tools`` (name -> the types of its arguments by name; null where they have no names), ``files``
    (text), ``paths`` (files that are there by now), ``history`` (text), ``gold`` (the true step, in the format of ReAct),
    ``gt_answer`` and ``unseen`` (results so far that are images). Raises :class:`UsageProblem` naming file, dialogue and message.
    """
    metas = {name: one for path in paths if path.stem == TOOLS for name, one in json_of(path, dict).items()}
    for path in paths:
        for query, item in json_of(path, dict).items() if path.stem != TOOLS else ():
            where = f"{path} (dialogue {query})"
            try:
                yield from _steps(str(query), item, metas)
            except (KeyError, IndexError, TypeError, AttributeError) as error:
                raise wrong(where, f"not as GTA's dialogues are: {type(error).__name__}: {error}") from None
            except ValueError as error:
                raise wrong(where, str(error)) from None


def _steps(query: str, item: Mapping[str, Any], metas: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a dialogue's steps. Raises ``KeyError`` and its kind, ``ValueError`` with words for what can be told."""
    dialogs = item["dialogs"]
    turns = [place for place, message in enumerate(dialogs) if message["role"] == "assistant" and _acts(message)]
    if not turns:
        raise ValueError("the agent says nothing")
    tools = [{**tool, **metas.get(tool["name"], {})} for tool in item["tools"]]
    whole = {
        "query": query,
        "tool_list": "\n".join(map(_tool_line, tools)),
        "tools": {tool["name"]: _arguments(tool) for tool in tools},
        "files": ", ".join(str(file["path"]) for file in item["files"]),
        "gt_answer": item["gt_answer"],
    }
    for step, place in enumerate(turns, start=1):
        message, before = dialogs[place], dialogs[:place]
        kind = "tool" if message.get("tool_calls") else "answer"
        history = [_said(one) for one in before]
        if kind == "answer" and place == turns[-1]:
            history.append(LAST)
        made = [path for one in before for path in _made(one)]
        said = {"history": "\n".join(history), "gold": _said(message), "unseen": len(made)}
        said["paths"] = [*(str(file["path"]) for file in item["files"]), *made]
        yield {**whole, "step": step, "kind": kind, **said}


def _acts(message: Mapping[str, Any]) -> bool:
    """Tell whether the agent does anything: its last message is empty where an image is all that was asked for."""
    return bool(message.get("tool_calls") or str(message.get("content") or "").strip())


def _said(message: Mapping[str, Any]) -> str:
    """Return a message as ReAct writes it."""
    role, content = message["role"], message.get("content")
    if role == "assistant":
        if not message.get("tool_calls"):
            return f"Final Answer: {content}"
        call = message["tool_calls"][0]["function"]
        return f"Action: {call['name']}\nAction Input: {json.dumps(call['arguments'], ensure_ascii=False)}"
    if role not in ("user", "tool"):
        raise ValueError(f"unknown role {role!r:.40}")
    return f"User: {content}" if role == "user" else f"Response: {_shown(content)}"


def _shown(content: Any) -> str:
    """Return a tool's result as text: of an image or another file its kind and name, which is all a text model gets."""
    if isinstance(content, list):
        return "\n".join(map(_shown, content))
    if not isinstance(content, dict):
        return "" if content is None else str(content)
    text = str(content["content"])
    return text if content["type"] == "text" else f"[{content['type']}]({text})"


def _made(message: Mapping[str, Any]) -> list[str]:
    """Return the files that a tool's result is made of."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    return [str(part["content"]) for part in parts if isinstance(part, dict) and part["type"] != "text"]


def _tool_line(tool: Mapping[str, Any]) -> str:
    given = [_argument_line(one) for one in tool["inputs"]]
    return f"- {tool['name']}: {tool['description']} Arguments: {'; '.join(given) or 'none'}."


def _argument_line(one: Mapping[str, Any]) -> str:
    about = [str(one["type"])]
    about += ["optional"] if one.get("optional") else []
    about += [str(one["description"])] if one.get("description") else []
    return f"{one.get('name') or 'argument'} ({', '.join(about)})"


def _arguments(tool: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the types of a tool's arguments by name; None where upstream does not name them all."""
    if not all(one.get("name") for one in tool["inputs"]):
        return None
    return {str(one["name"]): str(one["type"]) for one in tool["inputs"]}
