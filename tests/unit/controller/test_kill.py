"""The controller dies before and after each single write and submit; its successor loses nothing, doubles nothing."""

from __future__ import annotations

import pytest

from hpc_trex.controller import Controller
from hpc_trex.models import JobKind, SearchState
from hpc_trex.tree.check import check
from hpc_trex.tree.store import Store
from tests.unit.controller.conftest import drive
from tests.unit.controller.simulation import Killed

pytestmark = pytest.mark.slow


class Fuse:
    """Dies at the n-th guarded call, before or after the call does its work."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left, self.after, self.blown = at, after, False

    def guard(self, function):
        def guarded(*args, **kwargs):
            self.left -= 1
            if self.left == 0 and not self.after:
                self.blown = True
                raise Killed
            value = function(*args, **kwargs)
            if self.left == 0:
                self.blown = True
                raise Killed
            return value

        return guarded


def run_with_kill(paths, cluster, monkeypatch, at, *, after):
    fuse = Fuse(at, after=after)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "record", fuse.guard(Store.record))
        patch.setattr(type(cluster), "submit", fuse.guard(type(cluster).submit))
        controller = Controller(paths)
        try:
            controller.start()
            for _ in range(200):
                report = controller.tick()
                if report.finished:
                    break
                cluster.finish_all()
        except Killed:
            pass
        finally:
            controller.close()
    return fuse.blown


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [*range(1, 40, 3), *range(40, 120, 8)])
def test_a_kill_at_any_step_changes_nothing(search, cluster, monkeypatch, at, after):
    paths = search(max_nodes=3, parallel=2, name="killed")
    blown = run_with_kill(paths, cluster, monkeypatch, at, after=after)
    with drive(paths, cluster) as controller:
        assert controller.store.state()[0] is SearchState.DONE
        jobs = [item for item in controller.store.attempts() if item.kind is not JobKind.TEST]
        assert len({item.token for item in jobs}) == len(jobs)
        assert max(cluster.starts.values()) == 1
        assert all(item.attempt == 1 for item in jobs), "a kill of the controller cost an attempt"
    assert check(paths) == []
    assert blown or at > 60, "the fuse must blow, or this tests nothing"
