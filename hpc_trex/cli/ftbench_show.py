"""``hpc-trex ftbench show``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, json_option


@click.command("show", epilog="Example: hpc-trex ftbench show mini-listops > my-task.toml")
@click.argument("name")
@json_option
def command(name: str, json: bool) -> None:
    """Print task card NAME (a built-in task or a file) as TOML, with every default filled in; it is checked first."""
    import tomli_w

    from hpc_trex.ftbench.cards import load_card

    card = load_card(name).card
    if json:
        emit_json({"task": card.model_dump(mode="json")})
    else:
        emit(tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)).rstrip())
