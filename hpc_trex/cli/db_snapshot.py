"""``hpc-trex db snapshot``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, last_option, pick, search_argument


@click.command(
    "snapshot", epilog="Example: hpc-trex db snapshot listops-1 && datasette searches/*/snapshots/current.db"
)
@search_argument
@last_option
def command(search: str | None, last: bool) -> None:
    """Publish the tree of SEARCH as it is now in snapshots/current.db. A controller at work does so by itself."""
    from hpc_trex.tree.lease import Lease
    from hpc_trex.tree.snapshot import publish
    from hpc_trex.tree.store import Store

    paths = pick(search, last)
    with Lease(paths) as lease, Store.open(paths, guard=lease) as store:
        done = publish(store, force=True)
    emit(str(paths.snapshot) + ("" if done else " is up to date"))
