"""All rounds as records, kept in memory between two looks and brought up to date by what changed.

Reading a round means parsing its plan and its trials' results, a third of a millisecond each time: done for the whole tree at
each proposal and each diagnosis, that would make a tick's cost grow with the tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_trex.tree import events as ev

if TYPE_CHECKING:
    from hpc_trex.models import NodeView
    from hpc_trex.tree.policies import NodeStat
    from hpc_trex.tree.reads import TreeReads

#: Events that change no round's record.
ELSEWHERE = (
    ev.AgentCalled,
    ev.AttemptQueued,
    ev.AttemptRunning,
    ev.Chosen,
    ev.ConfigChanged,
    ev.GateAsked,
    ev.NoiseMeasured,
    ev.Note,
    ev.SearchStateChanged,
    ev.TestScored,
)


class Views:
    """The rounds as they were last read, and which of them must be read again."""

    def __init__(self) -> None:
        self._views: list[NodeView] | None = None
        self._stats: list[NodeStat] = []
        self._changed: set[int] = set()

    def forget(self) -> None:
        """Read everything again next time."""
        self._views = None
        self._changed.clear()

    def note(self, event: ev.Event, tree: TreeReads) -> None:
        """Note which rounds an event that was just recorded has changed. One that is not known changes all."""
        if self._views is None or isinstance(event, ELSEWHERE):
            return
        if isinstance(event, ev.GateDecided) and event.gate != "requirements":
            return  # about a round that is not in the tree yet
        node = getattr(event, "node", None)
        if isinstance(event, ev.AttemptEnded):
            attempt = tree.attempt(event.token)
            node = attempt.node if attempt else None
        if not isinstance(node, int):
            self.forget()
            return
        self._changed.add(node)
        if isinstance(event, ev.NodeAdded) and event.parent is not None:
            self._changed.add(event.parent)  # it has one child more

    def nodes(self, tree: TreeReads) -> list[NodeView]:
        """Return all rounds in the order of design."""
        stats = tree.stats()
        if self._views is None:
            self._views = tree.read_nodes()
        else:
            for node in sorted(self._changed):
                self._views[node : node + 1] = [tree.node(node)]  # numbers have no gaps: replaces, or appends
            self._renew_sums(self._views, stats)
        self._stats = stats
        self._changed.clear()
        return list(self._views)

    def _renew_sums(self, views: list[NodeView], stats: list[NodeStat]) -> None:
        """Bring rewards, visits and pending rounds up to date where they moved without an event of the round's own.

        A number that did not move is the same object as before: :class:`hpc_trex.tree.standing.Standing` keeps it.
        """
        for node, (old, new) in enumerate(zip(self._stats, stats, strict=False)):
            if old is not new and node not in self._changed:
                now = {"reward": new.reward, "visits": new.visits, "pending": new.pending}
                views[node] = views[node].model_copy(update=now)
