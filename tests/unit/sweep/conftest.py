"""Sweeps in a home of the test, and answers that a Slurm gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hpc_trex.slurm.commands import Answer
from hpc_trex.sweep.layout import SweepPaths
from tests.noop.sweeps import maker


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SweepPaths]:
    """Make a sweep whose elements are processes of this machine and whose trainings do no work."""
    return maker(tmp_path, monkeypatch)


class Cluster:
    """Answers by command; what was asked is kept. ``jobs``: rows of squeue, ``accounts``: of sacct."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.jobs: list[str] = []
        self.accounts: list[str] = []
        self.silent = False
        self.name = ""
        self.sbatch = Answer(0, "41\n", "")

    def __call__(self, command: Sequence[str]) -> Answer:
        self.asked.append(tuple(command))
        if self.silent:
            return Answer(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
        if command[0] == "squeue":
            return Answer(0, "\n".join(self.jobs), "")
        if command[0] == "sacct":
            return Answer(0, "\n".join(self.accounts), "")
        if command[:2] == ("scontrol", "show"):
            named = f"ClusterName             = {self.name}\n" if self.name else ""
            return Answer(0, f"{named}MaxArraySize            = 4\n", "")
        return self.sbatch if command[0] == "sbatch" else Answer(0, "", "")

    def calls(self, name: str) -> list[tuple[str, ...]]:
        return [command for command in self.asked if command[0] == name]


@pytest.fixture
def slurm() -> Cluster:
    return Cluster()
