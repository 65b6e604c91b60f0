"""What a job by hand may use. No job is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.by_hand.run import Hand
from hpc_trex.by_hand.spec import HandSpec
from hpc_trex.models import JobKind, Resources


def with_gpus(count: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an ``nvidia-smi`` that lists ``count`` GPUs in front of the machine's own."""
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo {index}\n" for index in range(count)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("here", "given", "wanted"),
    [
        (0, {}, 0),
        (4, {}, 1),
        (4, {"processes_per_node": 3}, 3),
        (1, {"processes_per_node": 2}, 0),  # two processes on one GPU are an error of NCCL's
        (4, {"gpus_per_node": 0}, 0),
        (4, {"gpus_per_node": 2}, 2),
    ],
)
def test_a_training_by_hand_takes_the_gpus_of_the_machine(
    here: int, given: dict[str, int], wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local back end hides all GPUs from a job that asks for none."""
    with_gpus(here, tmp_path, monkeypatch)
    told: list[str] = []
    hand = Hand(HandSpec(out=str(tmp_path / "out"), resources=Resources.model_validate(given)), told.append)
    assert hand.resources(JobKind.TRAIN).gpus == wanted
    assert hand.resources(JobKind.BASELINE).gpus == wanted
    assert hand.resources(JobKind.PREPARE).gpus == given.get("gpus_per_node", 0)
    assert bool(told) == (0 < here < given.get("processes_per_node", 1) and "gpus_per_node" not in given)
