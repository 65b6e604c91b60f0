"""``hpc-trex db``: the database of a search."""

from __future__ import annotations

import click

from hpc_trex.cli.lazy import Entry, LazyGroup


@click.command(
    "db",
    cls=LazyGroup,
    table={
        "check": Entry("db_check", "Compare the database with events.jsonl."),
        "rebuild": Entry("db_rebuild", "Make the database anew from events.jsonl."),
        "snapshot": Entry("db_snapshot", "Publish a snapshot for readers."),
    },
)
def command() -> None:
    """The database of a search: tree.db is made from events.jsonl, which is the truth."""
