"""What a tick costs depends on what came in, not on how large the tree is. Counted, never timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from hpc_trex.controller import Controller, loop
from hpc_trex.layout import SearchPaths
from hpc_trex.models import NodeState
from hpc_trex.tree import reads
from tests.unit.controller.simulation import Cluster

pytestmark = pytest.mark.slow

SMALL, LARGE, MEASURED = 20, 160, 24
#: Rounds differ a little: a new best score, a recipe that was prepared before. And the sums of a round's ancestors are brought
#: up to date one by one, so steps grow with the depth. In a tree eight times as large each would be 8 if the tree were read.
ALLOWED = {"node_view": 1.25, "trial_view": 1.25, "steps": 2.0}


def grow(controller: Controller, cluster: Cluster, rounds: int) -> None:
    while len(controller.store.node_ids(NodeState.DONE)) <= rounds:
        assert not controller.tick().finished
        cluster.finish_all()


@pytest.mark.parametrize("researcher", ["random", "playbook"])
def test_a_round_costs_as_much_in_a_large_tree_as_in_a_small_one(
    researcher: str,
    search: Callable[..., SearchPaths],
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted: steps of SQLite's machine (by hundreds), and rounds and trials parsed out of the database."""
    counts: Counter[str] = Counter()
    for name in ("node_view", "trial_view"):
        monkeypatch.setattr(reads, name, counting(getattr(reads, name), name, counts))
    paths = search(researcher=researcher, max_nodes=400, parallel=8, trials=1)
    with Controller(paths) as controller:
        controller.start()
        controller.store.db.conn.set_progress_handler(lambda: counts.update(steps=1), 100)
        cost = {}
        for size in (SMALL, LARGE):
            grow(controller, cluster, size)
            counts.clear()
            before = controller.store.last_seq()
            grow(controller, cluster, size + MEASURED)
            events = controller.store.last_seq() - before
            cost[size] = {name: number / events for name, number in counts.items()}
    for name, factor in ALLOWED.items():
        assert 0 < cost[LARGE][name] <= factor * cost[SMALL][name], (name, cost)


def counting(function: Callable[..., object], name: str, counts: Counter[str]) -> Callable[..., object]:
    def counted(*arguments: object) -> object:
        counts[name] += 1
        return function(*arguments)

    return counted


def test_controllers_that_began_together_ask_slurm_at_different_times(
    search: Callable[..., SearchPaths], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        cluster.finish_all()

    monkeypatch.setattr(loop.time, "sleep", sleep)
    with Controller(search(max_nodes=1, trials=1)) as controller:
        controller.run(lambda report: None)
        poll = controller.profile.poll_seconds
    assert len(set(pauses)) == len(pauses) > 3
    assert all(0.9 * poll <= pause <= 1.1 * poll for pause in pauses)
