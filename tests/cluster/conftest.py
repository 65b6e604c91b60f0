"""A real Slurm for the whole session: started from nothing, stopped and deleted at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hpc_trex.site import site


class TestCluster:
    """The running test cluster. A Slurm that cannot be installed or started is a failure, never a skip."""

    __test__ = False

    def __init__(self, *options: str) -> None:
        # Not pytest's tmp_path: the path of a unix socket has at most 108 characters.
        self.state = Path(tempfile.mkdtemp(prefix="trex-slurm-", dir="/tmp"))
        self._scripts = site("slurm", "testcluster")
        self._run("up.sh", *options)
        self.conf = self.state / "etc" / "slurm.conf"

    def node(self, verb: str, name: str) -> None:
        """Make a node or daemon fail or come back, by node.sh."""
        self._run("node.sh", verb, name)

    def stop_controller(self) -> None:
        """Stop slurmctld."""
        self.node("stop", "slurmctld")

    def start_controller(self) -> None:
        """Start slurmctld again and wait until it answers."""
        self.node("start", "slurmctld")

    def down(self) -> None:
        """Stop everything and delete the state."""
        self._run("down.sh", "--purge")

    def _run(self, script: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._scripts / script, self.state, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{script} {' '.join(arguments)} failed:\n{done.stdout}")


def point_to(patch: pytest.MonkeyPatch, conf: Path) -> None:
    """Make Slurm's commands talk to the cluster of this configuration."""
    patch.setenv("SLURM_CONF", str(conf))
    if shutil.which("slurmctld") is None:
        patch.setenv("PATH", os.environ["PATH"] + ":/usr/sbin")


@contextmanager
def started(*options: str) -> Iterator[TestCluster]:
    """Start a cluster by up.sh with these options, lead SLURM_CONF and PATH to it, and delete it at the end."""
    cluster = TestCluster(*options)
    try:
        with pytest.MonkeyPatch.context() as patch:
            point_to(patch, cluster.conf)
            yield cluster
    finally:
        cluster.down()


@pytest.fixture(scope="session")
def testcluster() -> Iterator[TestCluster]:
    """Four nodes of 16 CPUs and 8 pretended GPUs, with accounting; SLURM_CONF and PATH lead to it."""
    with started() as cluster:
        yield cluster
