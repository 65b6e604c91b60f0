"""``hpc-trex data operators``."""

from __future__ import annotations

from typing import Any

import click

from hpc_trex.cli.options import emit, emit_json, json_option
from hpc_trex.errors import UsageProblem
from hpc_trex.suggest import did_you_mean


@click.command("operators", epilog="Example: hpc-trex data operators dedup")
@click.argument("name", required=False)
@json_option
def command(name: str | None, json: bool) -> None:
    """List the steps that a data recipe can hold, or show the one called NAME."""
    from hpc_trex.models.operators import operator_schemas

    schemas = operator_schemas()
    if name is not None and name not in schemas:
        raise UsageProblem(f"no operator {name!r}{did_you_mean(name, schemas)}", hint=f"known: {', '.join(schemas)}")
    chosen = schemas if name is None else {name: schemas[name]}
    if json:
        emit_json({"operators": chosen})
        return
    emit("\n\n".join(_told(one, schema) for one, schema in chosen.items()))


def _told(name: str, schema: dict[str, Any]) -> str:
    lines = [click.style(name, bold=True), *_wrapped(schema.get("description", ""), 2)]
    required = schema.get("required", ())
    for field, kind in schema["properties"].items():
        if field == "op":
            continue
        default = "required" if field in required else f"default {_shown(kind.get('default'))}"
        lines.append(f"  {field} ({default})")
        lines += _wrapped(kind.get("description", ""), 6)
    return "\n".join(lines)


def _shown(value: object) -> str:
    import json

    return "none" if value is None else json.dumps(value)


def _wrapped(text: str, indent: int) -> list[str]:
    import textwrap

    words = " ".join(text.replace("``", "").split())
    return textwrap.wrap(words, 100, initial_indent=" " * indent, subsequent_indent=" " * indent)
