"""``hpc-trex gc`` on one search: look, then, with the lease, move what can go (:mod:`.garbage`, :mod:`.trash`)."""

from __future__ import annotations

from typing import NamedTuple

from hpc_trex.controller.control import MODELS_REMOVED
from hpc_trex.controller.garbage import Item, Plan, find
from hpc_trex.controller.trash import Trash
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.files import server_now
from hpc_trex.layout import SearchPaths
from hpc_trex.tree.events import Note
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.snapshot import publish
from hpc_trex.tree.store import Store


class Look(NamedTuple):
    """What could go: ``old`` is trash that may be deleted for good."""

    plan: Plan
    old: list[Item]

    @property
    def empty(self) -> bool:
        """Tell whether there is nothing to do."""
        return not (self.plan.items or self.plan.packs or self.old)


class Cleaned(NamedTuple):
    """What was done, and in words what could not be."""

    moved: list[Item]
    packed: int
    deleted: list[Item]
    skipped: list[str]


def look(paths: SearchPaths, *, keep: int, at_once: bool) -> Look:
    """Return what could go, without changing anything."""
    now = _now(paths)
    with Store.read(paths) as reader:
        return Look(find(paths, reader, keep=keep, now=now), Trash(paths).old(now, all_of_it=at_once))


def clean(paths: SearchPaths, shown: Look, *, keep: int, at_once: bool) -> Cleaned:
    """Move what was shown and can still go; delete old trash, ``at_once`` also what has just been moved.

    Raises LeaseHeld while a controller is at work, EnvironmentProblem for a full or read-only disk.
    """
    trash = Trash(paths)
    trash.delete(shown.old)  # first: it makes the room that a lease needs, and nobody uses it
    with Lease(paths) as lease, Store.open(paths, guard=lease) as store:
        plan = find(paths, store, keep=keep, now=_now(paths))
        paths_shown = {one.path for one in shown.plan.items}
        nodes_shown = {one.node for one in shown.plan.packs}
        if plan.final:
            store.record(Note(text=f"{MODELS_REMOVED}; the best {keep} rounds and the chosen one keep theirs"))
        moved = trash.move(one for one in plan.items if one.path in paths_shown)
        packed = trash.pack(one for one in plan.packs if one.node in nodes_shown)
        publish(store, force=True)
    now_old = trash.old(0.0, all_of_it=True) if at_once else []
    trash.delete(now_old)
    return Cleaned(moved, len(packed), [*shown.old, *now_old], trash.skipped)


def _now(paths: SearchPaths) -> float:
    """Return the file server's time; where nothing can be written, a time that makes nothing look old."""
    try:
        return server_now(paths.events)
    except EnvironmentProblem:
        return paths.events.stat().st_mtime
