"""Several test clusters on one machine never share a port."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpc_trex.site import site
from tests.cluster.conftest import TestCluster

pytestmark = pytest.mark.cluster

SHAPE = ("-A", "-n", "1", "-g", "0")


def script(name: str, state: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [site("slurm", "testcluster") / name, state, *options]
    return subprocess.run(command, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=600, check=False)


def ping(state: Path) -> str:
    environment = os.environ | {"SLURM_CONF": str(state / "etc" / "slurm.conf")}
    return subprocess.run(["scontrol", "ping"], env=environment, text=True, capture_output=True, check=False).stdout


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[TestCluster, TestCluster]]:
    """A cluster that was stopped, and one that was given its ports meanwhile."""
    first = TestCluster(*SHAPE)
    script("down.sh", first.state)
    # Its ports were others: those that a cluster chooses by itself might be taken by one that starts meanwhile.
    port = str(free_ports())
    (first.state / "etc" / "port").write_text(f"{port}\n")
    second = TestCluster(*SHAPE, "-p", port)
    yield first, second
    first.down()
    second.down()


def free_ports(count: int = 20) -> int:
    """The first of ``count`` free ports below those that up.sh chooses from."""
    for first in range(20017, 26000, 100):
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in range(first, first + count):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise AssertionError("no free ports")


def test_a_stopped_cluster_whose_ports_another_has_now_comes_back_on_others(two):
    first, second = two
    done = script("up.sh", first.state, *SHAPE)
    assert done.returncode == 0, done.stderr
    ports = [int((cluster.state / "etc" / "port").read_text()) for cluster in two]
    assert abs(ports[0] - ports[1]) >= 100
    assert "is UP" in ping(first.state)
    assert "is UP" in ping(second.state)


def test_a_port_that_another_cluster_has_is_refused(two):
    first, second = two
    port = (second.state / "etc" / "port").read_text().strip()
    done = script("up.sh", first.state, *SHAPE, "-p", port)
    assert done.returncode != 0
    assert "choose another -p" in done.stderr
    assert "is UP" in ping(second.state)
