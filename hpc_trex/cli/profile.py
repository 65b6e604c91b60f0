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
        "init": Entry("profile_init", "Write a profile of the cluster that you are on."),
        "check": Entry("profile_check", "Ask Slurm whether it would take a profile's jobs."),
    },
)
def command() -> None:
    """The clusters that searches can run on: shipped profiles and those of your site folder."""
