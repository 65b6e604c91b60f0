"""``hpc-trex unlock``: remove the lease of a controller that is gone."""

from __future__ import annotations

import sys

import click

from hpc_trex.cli.options import dry_run_option, emit, last_option, pick, search_argument
from hpc_trex.errors import UsageProblem


@click.command("unlock", epilog="Example: hpc-trex unlock listops-1")
@search_argument
@last_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@dry_run_option
def command(search: str | None, last: bool, yes: bool, dry_run: bool) -> None:
    """Remove the lease of SEARCH after showing who holds it.

    Needed only when the holder's machine is gone: on this machine, and after ten minutes without a sign of life, a dead
    controller's lease is taken over without it. A controller that still runs stops at its next step; its jobs go on.
    """
    from hpc_trex.tree.lease import read_lease, unlock

    paths = pick(search, last)
    found = read_lease(paths.lease)
    if found is None:
        emit(f"no controller holds {paths.root.name}")
        return
    emit(f"held by {found.holder or 'a controller that is just starting'}")
    if dry_run:
        emit("nothing was removed (--dry-run)")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageProblem("unlock cannot ask here", hint="add -y when that process is surely gone")
        if not click.confirm("is that process surely gone?"):
            emit("nothing was removed")
            return
    unlock(paths)
    emit(f"lease removed; go on with: hpc-trex resume {paths.root.name}")
