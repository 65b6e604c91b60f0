"""The walk-through of docs/long-searches.md is typed here as it stands there, and what it tells of really happens."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import tomli_w

from hpc_trex.files import write_record
from hpc_trex.layout import SearchPaths, StagedPaths
from hpc_trex.models import FailureClass, SearchState, StagedItem
from hpc_trex.tree.store import Store
from tests.noop import noop_profile
from tests.program import assert_whole, trex, wait_until

pytestmark = pytest.mark.cluster
PATIENCE = 240.0

PAGE = Path(__file__).resolve().parents[2] / "docs" / "long-searches.md"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TRAIN = {"cpus_per_task": 1, "gpus_per_node": 1, "mem_gb": 0.1, "minutes": 30}
#: The partition of the first site; nobody else's jobs run there.
PARTITION = "low"


def typed() -> list[str]:
    """What is typed in the page's walk-through: its first console block, without the prompts and what is printed."""
    (block, *_) = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture
def site(testcluster, tmp_path, home, own_card, monkeypatch):
    """A site folder with the two profiles of the page, and the model staged; trainings on the first take ten minutes."""
    folder = tmp_path / "site"
    profiles = folder / "slurm" / "profiles"
    profiles.mkdir(parents=True)
    for name, partition, seconds in (("mysite", PARTITION, 600.0), ("othersite", "high", 0.0)):
        profile = noop_profile(
            name=name, partition=partition, seconds=seconds, train=TRAIN, parallel=2, poll_seconds=0.3
        )
        (profiles / f"{name}.toml").write_text(tomli_w.dumps(profile.model_dump(mode="json", exclude_none=True)))
    stage = tmp_path / "stage"
    staged = StagedPaths(stage, "models", "Qwen/Qwen3-1.7B", COMMIT)
    staged.folder.mkdir(parents=True)
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        (staged.folder / file).write_text("{}")
    given = {"kind": "models", "repository": "Qwen/Qwen3-1.7B", "commit": COMMIT, "asked": ("main",), "files": ()}
    write_record(staged.manifest, StagedItem(staged_at="2026-01-01T00:00:00Z", program="0", **given))
    monkeypatch.setenv("HPC_TREX_SITE", str(folder))
    monkeypatch.setenv("HPC_TREX_STAGE", str(stage))
    monkeypatch.chdir(own_card.parent)
    yield home
    slurm("scontrol", "update", f"partitionname={PARTITION}", "state=up")
    slurm("scancel", f"--partition={PARTITION}")


def slurm(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def accounted(uid: str) -> Counter[str]:
    """How often Slurm's accounting knows each job of the search."""
    names = slurm("sacct", "-n", "-X", "-P", "-S", "now-1days", "-o", "JobName").split()
    return Counter(name for name in names if name.startswith(uid))


class World:
    """What happens between the commands."""

    def __init__(self, home: Path) -> None:
        self.paths = SearchPaths(home / "weeks")
        self.ran: list[str] = []

    def running(self) -> list[str]:
        """Ids of the search's jobs that run."""
        return slurm("squeue", "--me", "-h", "-t", "R", "-p", PARTITION, "-o", "%i").split()

    def trainings(self) -> list[Path]:
        return list(self.paths.root.glob("nodes/0001/trials/[1-9]/attempts/1/started.json"))

    def end_controller(self) -> None:
        pid = json.loads(self.paths.lease.read_text())["pid"]
        os.kill(pid, signal.SIGKILL)

    def reboot(self) -> None:
        wait_until(lambda: len(self.trainings()) == 2, seconds=PATIENCE, what="two trainings that run")
        # A job before them that has left its result may still be on its way out.
        wait_until(lambda: len(self.running()) == 2, seconds=PATIENCE, what="nothing else that runs")
        self.ran = self.running()
        self.end_controller()

    def expire(self) -> None:
        assert sorted(self.running()) == sorted(self.ran), "the jobs did not go on"
        slurm("scontrol", "update", f"partitionname={PARTITION}", "state=down")
        for job in self.ran:
            slurm("scontrol", "update", f"jobid={job}", "EndTime=now+3")
        wait_until(lambda: not self.running(), seconds=PATIENCE, what="the end of what ran")
        waits = ("squeue", "--me", "-h", "-t", "PD", "-p", PARTITION, "-o", "%r")
        wait_until(
            lambda: slurm(*waits).split() == ["PartitionDown"] * 2, seconds=PATIENCE, what="new attempts that wait"
        )
        self.end_controller()


def test_the_walk_through_of_the_docs_is_what_happens(site):
    world = World(site)
    happens = {
        "# the login node reboots: the controller is gone, the jobs go on": world.reboot,
        "# the allocation expires: what runs is ended, and the partition starts nothing any more": world.expire,
        "# weeks later, on another cluster or partition": lambda: None,
    }
    said = {}
    for line in typed():
        if line.startswith("#"):
            happens.pop(line)()
        else:
            said[line] = trex(*shlex.split(line)[1:], timeout=300).stdout
            print(f"$ {line}\n{said[line]}")
    assert not happens, "the page does not tell of it any more"
    shown = next(text for line, text in said.items() if " status " in line)
    assert "waits     2 jobs, PartitionDown: the partition is down" in shown
    assert any("profile: mysite (slurm) -> othersite (slurm)" in text for text in said.values())
    assert_whole(world.paths.root)
    with Store.read(world.paths) as store:
        assert store.state()[0] is SearchState.DONE
        attempts, uid = store.attempts(), store.config.uid
    first = [item for item in attempts if item.job_id in world.ran]
    assert len(first) == 2
    assert all(item.failure in (FailureClass.TIMEOUT, FailureClass.PREEMPTED) for item in first), first
    tokens = {item.token for item in attempts}
    wait_until(
        lambda: set(accounted(uid)) == tokens, seconds=PATIENCE, what="Slurm's accounting, which is some seconds behind"
    )
    assert set(accounted(uid).values()) == {1}, "Slurm has seen a job twice"
