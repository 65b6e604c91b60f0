"""``hpc-trex ftbench list``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, json_option, look


@click.command("list")
@json_option
def command(json: bool) -> None:
    """List the built-in tasks with their metric."""
    from hpc_trex.ftbench.cards import list_cards

    cards = list_cards()
    if json:
        emit_json({"tasks": [card.model_dump(mode="json") for card in cards]})
        return
    wide = max((len(card.name) for card in cards), default=0)
    for card in cards:
        emit(look().cut_end(f"{card.name:<{wide}}  {card.metric.shown:<12}  {card.title}"))
