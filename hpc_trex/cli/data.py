"""``hpc-trex data``: data recipes by hand."""

from __future__ import annotations

import click

from hpc_trex.cli.lazy import Entry, LazyGroup


@click.command(
    "data",
    cls=LazyGroup,
    table={
        "run": Entry("data_run", "Run a recipe and show what each step keeps and drops."),
        "show": Entry("data_show", "Look at a prepared set."),
        "export": Entry("data_export", "Write a prepared set for other programs, with a card."),
        "operators": Entry("data_operators", "List the operators with their parameters."),
    },
)
def command() -> None:
    """Data recipes by hand, without a search: run one, look at what it made, hand it on, list the operators."""
