"""``hpc-trex doctor`` on a real Slurm, with its probe job on a compute node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.program import trex, wait_until

pytestmark = pytest.mark.cluster

COMPUTE = [
    "probe job", "sbatch, compute", "lease, compute", "file locks, compute", "clock, compute", "scratch", "same versions",
    "torch", "GPUs", "flash-attn", "sandbox, compute", "network, compute",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _home(tmp_path, testcluster, monkeypatch):
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def small(path: Path, text: str = "", *, gpus: int = 0) -> Path:
    sizes = f"gpus_per_node = {gpus}\nmem_gb = 1\nminutes = 5\n"
    path.write_text(f'scheduler = "slurm"\npartition = "main"\n{text}\n[train]\n{sizes}[evaluate]\n{sizes}')
    return path


def examined(*options: object, code: int = 0) -> dict[str, dict[str, str]]:
    body = json.loads(trex("doctor", "--json", *options, code=code).stdout)
    assert body["schema"] == 1
    return {check["name"]: check for check in body["checks"]}


def queue() -> str:
    return subprocess.run(["squeue", "--me", "-h", "-o", "%j"], capture_output=True, text=True, check=True).stdout


def test_a_compute_node_is_looked_at_by_a_real_job_and_nothing_is_left(tmp_path):
    found = examined("--profile", "testcluster")
    assert set(COMPUTE) < set(found)
    assert "ran on trex" in found["probe job"]["found"]
    assert "--as-job will do" in found["sbatch, compute"]["found"]
    assert "is refused" in found["lease, compute"]["found"]
    assert found["same versions"]["verdict"] == "ok"
    assert "can be imported" in found["torch"]["found"]
    assert (found["GPUs"]["verdict"], found["GPUs"]["remedy"] != "") == ("warning", True), "its GPUs are pretended"
    assert "SDPA is used" in found["flash-attn"]["found"]
    assert found["sandbox, compute"]["found"].startswith("bwrap: holds")
    assert "Connection refused" in found["network, compute"]["found"]
    assert "takes all four jobs" in found["sbatch"]["found"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".hpc-trex-doctor")]
    assert "trex-doctor" not in queue()


def test_a_probe_that_waits_in_the_queue_is_told_why_and_cancelled(tmp_path):
    found = examined("--profile", small(tmp_path / "held.toml", "extra = { hold = true }"), "--wait", 2)
    assert found["probe job"]["verdict"] == "warning"
    assert "JobHeldUser (held by you" in found["probe job"]["found"]
    wait_until(lambda: "trex-doctor" not in queue(), seconds=240, what="the held probe to be cancelled")
    assert not set(COMPUTE[1:-1]) & set(found) - {"GPUs", "flash-attn", "torch"}


def test_an_interpreter_that_is_not_on_the_compute_node_is_a_failure(tmp_path):
    path = small(tmp_path / "broken.toml", 'python = "/no/such/python"')
    found = examined("--profile", path, code=8)
    assert found["probe job"]["verdict"] == "failure"
    assert "a command is missing on the node" in found["probe job"]["found"]
    assert "/no/such/python" in found["probe job"]["found"]


def test_a_network_that_the_profile_promises_and_the_node_has_not_is_a_failure(tmp_path):
    found = examined("--profile", small(tmp_path / "online.toml", 'network = "compute"'), code=8)
    assert found["network, compute"]["verdict"] == "failure"
    assert 'network = "login"' in found["network, compute"]["remedy"]


def test_a_profile_that_slurm_refuses_is_a_failure_and_no_job_is_needed_to_see_it(tmp_path):
    found = examined("--profile", small(tmp_path / "nine.toml", gpus=9), "--no-job", code=8)
    assert found["sbatch"]["verdict"] == "failure"
    assert "train.gpus_per_node" in found["sbatch"]["remedy"]
    assert "probe job" not in found
