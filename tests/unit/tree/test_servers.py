"""Jobs that serve the agents' model, in the tree: one at a time, reserved at worst, settled, the same after a rebuild."""

from __future__ import annotations

import pytest

from hpc_trex.tree import events as ev
from hpc_trex.tree.check import check, rebuild
from hpc_trex.tree.servers import last_server, live_server
from hpc_trex.tree.spending import spent, spent_by
from hpc_trex.tree.store import Store
from tests.unit.tree.building import new_store


def intended(number: int) -> ev.ServerIntended:
    return ev.ServerIntended(
        number=number, token=f"s-{number}", directory=f"server/{number}", gpus=2, cpus=8, minutes=90, user="ada"
    )


def test_a_server_reserves_its_worst_and_counts_with_what_it_used(tmp_path):
    with new_store(tmp_path) as store:
        assert last_server(store) is None
        store.record(intended(1))
        assert (spent(store).reserved_gpu_hours, spent(store).reserved_cpu_hours, spent(store).jobs) == (3.0, 12.0, 1)
        store.record(ev.ServerQueued(token="s-1", job_id="77"))
        live = live_server(store)
        assert live is not None
        assert (live.state, live.job_id) == ("queued", "77")
        store.record(ev.ServerEnded(token="s-1", seconds=1800.0, cpu_seconds=7200.0, message="idle"))
        assert live_server(store) is None
        after = spent(store)
        assert (after.gpu_hours, after.cpu_hours, after.reserved_gpu_hours, after.jobs) == (1.0, 2.0, 0.0, 0)
        rows = [(row.key, row.gpu_hours, row.cpu_hours, row.jobs) for row in spent_by(store, "node")]
        assert rows == [("server", 1.0, 2.0, 1)]
        assert [row.key for row in spent_by(store, "user")] == ["ada"]


def test_two_servers_at_once_and_an_end_without_a_beginning_do_not_fit(tmp_path):
    with new_store(tmp_path) as store:
        for wrong in (intended(2), ev.ServerQueued(token="s-1", job_id="7"), ev.ServerEnded(token="s-1")):
            with pytest.raises(ValueError, match="server"):
                store.record(wrong)
        store.record(intended(1))
        with pytest.raises(ValueError, match="which lives"):
            store.record(intended(2))
        store.record(ev.ServerEnded(token="s-1"))
        store.record(intended(2))


def test_check_sees_a_server_that_the_log_does_not_know_and_rebuild_makes_it_right(tmp_path):
    with new_store(tmp_path) as store:
        store.record(intended(1))
        store.record(ev.ServerEnded(token="s-1", seconds=60.0))
        paths = store.paths
        store.db.execute("UPDATE servers SET seconds = 5")
        store.db.conn.commit()
    assert any("servers 1: seconds is 5.0, the log says 60.0" in line for line in check(paths))
    rebuild(paths)
    assert not [line for line in check(paths) if "server" in line]
    with Store.read(paths) as reader:
        server = last_server(reader)
        assert server is not None
        assert server.seconds == 60.0
