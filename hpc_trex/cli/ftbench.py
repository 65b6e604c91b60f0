"""``hpc-trex ftbench``: the built-in tasks."""

from __future__ import annotations

import click

from hpc_trex.cli.lazy import Entry, LazyGroup


@click.command(
    "ftbench",
    cls=LazyGroup,
    table={
        "list": Entry("ftbench_list", "List the task cards."),
        "show": Entry("ftbench_show", "Tell what a task is, or print its card."),
        "fetch": Entry("ftbench_fetch", "Bring the data of the real tasks to this site."),
        "verify": Entry("ftbench_verify", "Look whether what was fetched is what it was."),
        "table": Entry("ftbench_table", "Base, reference and each Researcher, with gain and G."),
        "mini": Entry("ftbench_mini", "Run the ten small built-in tasks, here or as one array."),
    },
)
def command() -> None:
    """The built-in tasks: shipped task cards and those of your site folder."""
