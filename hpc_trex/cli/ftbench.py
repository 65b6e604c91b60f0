"""``hpc-trex ftbench``: the built-in tasks."""

from __future__ import annotations

import click

from hpc_trex.cli.lazy import Entry, LazyGroup


@click.command(
    "ftbench",
    cls=LazyGroup,
    table={
        "list": Entry("ftbench_list", "List the task cards."),
        "show": Entry("ftbench_show", "Print one task card."),
    },
)
def command() -> None:
    """The built-in tasks: shipped task cards and those of your site folder."""
