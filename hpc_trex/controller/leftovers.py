"""What a controller that died over its work left lying: temporary files that nobody will rename any more.

A controller that takes over looks where its predecessor can have died: the search's own folder, the snapshots, the rounds
and jobs that are not over. Jobs that fail, with a result or without, are looked after when they are recorded.
"""

from __future__ import annotations

import math

from hpc_trex.files import sweep
from hpc_trex.layout import AttemptPaths, SearchPaths
from hpc_trex.models import NodeState
from hpc_trex.tree.store import Store


def sweep_search(paths: SearchPaths, store: Store) -> None:
    """Remove the temporary files of dead controllers; the lease, just taken, tells the file server's time."""
    try:
        now = paths.lease.stat().st_mtime
    except FileNotFoundError:
        return  # somebody broke the lease: the next commit says so
    folders = [paths.root, paths.snapshot.parent]
    folders += [paths.node(node) for node in store.node_ids(NodeState.PENDING)]
    folders += [paths.root / attempt.directory for attempt in store.live_attempts()]
    for folder in folders:
        sweep(folder, now=now)


def sweep_attempt(paths: AttemptPaths) -> None:
    """Remove the temporary files of a job that is over."""
    sweep(paths.root, now=math.inf)
