"""``hpc-trex config``: where options come from, and the JSON schemas of what people write."""

from __future__ import annotations

import click

from hpc_trex.cli.lazy import Entry, LazyGroup


@click.command(
    "config",
    cls=LazyGroup,
    table={
        "show": Entry("config_show", "Print the options that are set, and where."),
        "schema": Entry("config_schema", "Print JSON schemas."),
    },
)
def command() -> None:
    """Where options come from (flag, environment, project file, user file), and JSON schemas."""
