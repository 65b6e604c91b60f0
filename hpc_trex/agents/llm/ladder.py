"""How an answer's form is asked for, best first, and what is left out when a server refuses it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from hpc_trex.models import LlmSettings

#: The function that an answer is given through on the rung ``tool``.
TOOL = "answer"
RUNGS = ("json_schema", "json_object", "tool", "text")
#: Words of a refusal that are about a rung.
_ABOUT = {
    "json_schema": ("response_format", "text.format", "json_schema", "schema", "structured", "guided", "grammar"),
    "json_object": ("response_format", "text.format", "json_object", "json mode", "structured", "guided", "grammar"),
    "tool": ("tool", "function"),
    "text": (),
}


#: Words of a refusal of this one schema, not of schemas.
_STRICTNESS = re.compile(r"invalid schema|not permitted|keyword|strict")


class Form(NamedTuple):
    """What an endpoint is sent beside the messages."""

    rung: str = RUNGS[0]
    stream: str = "usage"
    """``usage``: streamed, with the usage at the end; ``plain``: streamed without; ``no``: in one piece."""
    strict: bool = True
    """Whether the schema is sent in the form that strict decoding demands, where it has one."""
    limit: str = "max_tokens"
    """The name of the longest answer's field."""


def without(form: Form, about: str) -> Form | None:
    """Return the next simpler form after a refusal in these words; None where they are about something else."""
    words = about.lower()
    if "max_completion_tokens" in words and form.limit == "max_tokens":
        return form._replace(limit="max_completion_tokens")
    if form.stream == "usage" and ("stream_options" in words or "include_usage" in words):
        return form._replace(stream="plain")
    if form.rung == "json_schema" and form.strict and _STRICTNESS.search(words):
        return form._replace(strict=False)
    if any(word in words for word in _ABOUT[form.rung]):
        return lower(form)
    if form.stream != "no" and re.search(r"\bstream", words):
        return form._replace(stream="no")
    return None


def lower(form: Form) -> Form | None:
    """Return the form one rung down; None on the last."""
    place = RUNGS.index(form.rung) + 1
    return form._replace(rung=RUNGS[place]) if place < len(RUNGS) else None


def request(
    form: Form, settings: LlmSettings, messages: Sequence[dict[str, Any]], answer: type[BaseModel]
) -> dict[str, Any]:
    """Return the arguments of ``create`` for an answer of this type."""
    told = list(messages) if form.rung in ("json_schema", "tool") else instructed(messages, answer)
    body: dict[str, Any] = {"model": settings.model}
    if settings.temperature is not None:
        body["temperature"] = settings.temperature
    if settings.api == "responses":
        return (
            body
            | {"input": told, "max_output_tokens": settings.max_tokens, "store": False}
            | _form_of_responses(form, answer)
        )
    body |= {"messages": told, form.limit: settings.max_tokens, **_form_of_chat(form, answer)}
    if form.stream != "no":
        body["stream"] = True
    if form.stream == "usage":
        body["stream_options"] = {"include_usage": True}
    return body


def _form_of_chat(form: Form, answer: type[BaseModel]) -> dict[str, Any]:
    schema, strict = strict_schema(answer) if form.strict else (answer.model_json_schema(), False)
    if form.rung == "json_schema":
        shape = {"name": schema_name(answer), "schema": schema, "strict": strict}
        return {"response_format": {"type": "json_schema", "json_schema": shape}}
    if form.rung == "json_object":
        return {"response_format": {"type": "json_object"}}
    if form.rung == "tool":
        function = {"name": TOOL, "description": "Give the answer.", "parameters": schema}
        return {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": TOOL}},
        }
    return {}


def _form_of_responses(form: Form, answer: type[BaseModel]) -> dict[str, Any]:
    schema, strict = strict_schema(answer) if form.strict else (answer.model_json_schema(), False)
    if form.rung == "json_schema":
        shape = {"type": "json_schema", "name": schema_name(answer), "schema": schema, "strict": strict}
        return {"text": {"format": shape}}
    if form.rung == "json_object":
        return {"text": {"format": {"type": "json_object"}}}
    if form.rung == "tool":
        function = {"type": "function", "name": TOOL, "description": "Give the answer.", "parameters": schema}
        return {"tools": [{**function, "strict": strict}], "tool_choice": {"type": "function", "name": TOOL}}
    return {}


def instructed(messages: Sequence[dict[str, Any]], answer: type[BaseModel]) -> list[dict[str, Any]]:
    """Return the messages with the schema in them: at the end of the system text, which stays the same from call to call."""
    told = [dict(message) for message in messages]
    place = 0 if told[0].get("role") in ("system", "developer") else len(told) - 1
    content = told[place].get("content")
    text = instruction(answer)
    told[place]["content"] = (
        [*content, {"type": "text", "text": text}] if isinstance(content, list) else f"{content}\n\n{text}"
    )
    return told


def instruction(answer: type[BaseModel]) -> str:
    """Return the words that ask for JSON of a type."""
    schema = json.dumps(answer.model_json_schema(), ensure_ascii=False, separators=(",", ":"))
    return f"Answer with one JSON object and nothing else. It must fit this JSON schema:\n{schema}"


def schema_name(answer: type[BaseModel]) -> str:
    """Return the type's name in the letters that servers allow."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", answer.__name__)[:64]


def strict_schema(answer: type[BaseModel]) -> tuple[dict[str, Any], bool]:
    """Return the schema in the form that strict decoding demands (every field required, no others), and True; the plain
    schema and False where a field is an open map, for which there is no such form.
    """
    plain = answer.model_json_schema()
    try:
        tightened = _tightened(plain)
    except _OpenMap:
        return plain, False
    return tightened, True


class _OpenMap(Exception):
    """A field whose keys the schema does not know."""


def _tightened(node: Any) -> Any:
    if isinstance(node, list):
        return [_tightened(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:  # strict decoders refuse words beside a reference
        return {"$ref": node["$ref"]}
    found = {key: _tightened(value) for key, value in node.items() if key not in ("default", "properties", "$defs")}
    for key in ("properties", "$defs"):  # below these, keys are names
        if key in node:
            found[key] = {name: _tightened(value) for name, value in node[key].items()}
    if node.get("type") == "object":
        if node.get("additionalProperties", False) is not False or "properties" not in node:
            raise _OpenMap
        found |= {"additionalProperties": False, "required": list(node["properties"])}
    return found
