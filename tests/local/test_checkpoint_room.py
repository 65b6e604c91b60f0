"""Checkpoints on a disk that has room for two and not for a third."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpc_trex.errors import TrexError
from hpc_trex.training.checkpoint import save_checkpoint
from hpc_trex.training.progress import Progress, complete_checkpoints

MEGABYTE = 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 8 MiB, which needs root; CI has it."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_where_a_third_has_no_room_the_older_of_two_makes_it_and_the_newest_always_stays(small_disk):
    import torch

    def save(step: int, size: int) -> None:
        state = {"weights": {"w": torch.zeros(size * MEGABYTE, dtype=torch.uint8)}}
        save_checkpoint(small_disk, Progress(step=step), state)

    def steps() -> list[int]:
        return [one.progress.step for one in complete_checkpoints(small_disk)]

    for step in (1, 2, 3, 4):
        save(step, 3)
    assert steps() == [3, 4]
    with pytest.raises(TrexError):
        save(5, 7)
    assert steps() == [4]
    assert sorted(path.name for path in small_disk.iterdir()) == ["step-00000004"]
    save(6, 3)
    assert steps() == [4, 6]
