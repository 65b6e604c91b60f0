"""``hpc-trex library remove``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import dry_run_option, emit


@click.command("remove")
@click.argument("wanted", nargs=-1, required=True, metavar="ID|NAME|PATTERN...")
@dry_run_option
def command(wanted: tuple[str, ...], dry_run: bool) -> None:
    """Remove documents by id, by name, or by a pattern of names such as 'papers/*'. Your files stay where they are."""
    from hpc_trex.layout import library
    from hpc_trex.research.library import Library

    own = Library(library())
    for entry in own.matching(wanted) if dry_run else own.remove(wanted):
        emit(f"{'would remove' if dry_run else 'removed'} {entry.id}  {entry.name}")
