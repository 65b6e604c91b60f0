"""``hpc-trex library``: papers, notes and data cards of one's own, searched without a network."""

from __future__ import annotations

import click

from hpc_trex.cli.lazy import Entry, LazyGroup


@click.command(
    "library",
    cls=LazyGroup,
    table={
        "add": Entry("library_add", "Take in files, folders and other libraries."),
        "search": Entry("library_search", "Search it."),
        "list": Entry("library_list", "List what is in it."),
        "remove": Entry("library_remove", "Remove documents."),
        "export": Entry("library_export", "Write it as one file to carry elsewhere."),
    },
)
def command() -> None:
    """Papers, notes and data cards of your own, for searches without a network: one file, HPC_TREX_LIBRARY."""
