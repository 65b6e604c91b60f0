"""Everything temporary of a job has a folder of its own: no name that another user's job could have taken."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hpc_trex.job.scratch import scratch


def test_everything_temporary_goes_into_a_private_folder_of_this_job_that_is_removed(tmp_path: Path):
    outer = {"SLURM_TMPDIR": str(tmp_path), "SLURM_JOB_ID": "77"}
    with scratch(outer) as first, scratch(outer) as second:
        mine = Path(first["TMPDIR"])
        assert mine.parent == tmp_path
        assert mine.name.startswith(f"hpc-trex-{os.getuid()}-77-")
        assert second["TMPDIR"] != first["TMPDIR"]
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        assert all(Path(first[name]).is_relative_to(mine) for name in ("HF_DATASETS_CACHE", "HF_MODULES_CACHE"))
        (mine / "half a cache").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_what_the_profile_has_set_itself_stays(tmp_path: Path):
    with scratch({"SLURM_TMPDIR": str(tmp_path), "HF_DATASETS_CACHE": "/fast/datasets"}) as given:
        assert given["HF_DATASETS_CACHE"] == "/fast/datasets"


@pytest.mark.parametrize("folder", ["", "/no/such/folder"])
def test_without_a_folder_from_slurm_the_nodes_own_temporary_folder_is_taken(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch({"SLURM_TMPDIR": folder}) as given:
        assert Path(given["TMPDIR"]).parent == tmp_path
