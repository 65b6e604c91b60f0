"""Two Slurm clusters on one file system: what waits in one is not absent because the other does not know it."""

from __future__ import annotations

import subprocess

import pytest

from hpc_trex.controller import Controller
from tests.cluster.conftest import started
from tests.noop import noop_profile, noop_search
from tests.program import assert_whole, trex

pytestmark = pytest.mark.cluster


def names() -> list[str]:
    """The jobs of the cluster that SLURM_CONF leads to."""
    done = subprocess.run(["squeue", "-h", "-t", "PD,R", "-o", "%j"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_search_does_not_run_its_jobs_again_on_another_cluster_and_moves_once_they_are_out_of_the_queue(
    testcluster, tmp_path, home
):
    paths = noop_search(home, noop_profile(poll_seconds=0.2), name="moved", max_nodes=1, trials=1)
    subprocess.run(["scontrol", "update", "PartitionName=main", "State=DOWN"], check=True)
    try:
        with Controller(paths) as controller:
            controller.start()
            controller.tick()
        (token,) = names()
        with started("-A", "-n", "1", "-C", "other"):
            refused = trex("resume", paths.root, code=2)
            assert "submitted to cluster trex; this is other" in refused.stderr
            assert "--assume-gone" in refused.stderr
            assert "cluster trex" in trex("cancel", paths.root, code=None).stderr
            assert names() == [], "the job was submitted a second time"
        assert names() == [token]
        trex("pause", paths.root, "--cancel-jobs")
        assert names() == []
        with started("-A", "-n", "1", "-C", "other"):
            trex("resume", paths.root)
    finally:
        subprocess.run(["scontrol", "update", "PartitionName=main", "State=UP"], check=True)
    assert_whole(paths.root)
    assert (paths.root / "nodes/0001/trials/1/attempts/1/cluster").read_text() == "other\n"
