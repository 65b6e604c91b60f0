"""``hpc-trex profile``: the clusters that searches can run on."""

from __future__ import annotations

import click

from hpc_trex.cli.lazy import Entry, LazyGroup


@click.command(
    "profile",
    cls=LazyGroup,
    table={
        "list": Entry("profile_list", "List the profiles."),
        "show": Entry("profile_show", "Print one profile as TOML."),
    },
)
def command() -> None:
    """The clusters that searches can run on: shipped profiles and those of your site folder."""
