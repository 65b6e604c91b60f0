"""When ``sweep wait`` ends: not at the first look at something that one look does not settle, and not never."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpc_trex.cli.sweep_launch import command as launch
from hpc_trex.cli.sweep_wait import command as wait
from hpc_trex.files import write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.slurm.scheduler import SubmitUnavailable
from hpc_trex.sweep.folder import read_config, write_config
from hpc_trex.sweep.records import ArrayRecord, ElementResult
from hpc_trex.tree.lease import Lease
from tests.noop.sweeps import profiles


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a program of Slurm's first in PATH that does what the script says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


@pytest.fixture
def sweep(make):
    """A sweep of one element whose array is recorded, with or without its job id."""

    def made(job_id: str | None):
        paths = make(scheduler="slurm")
        config = read_config(paths)
        quick = config.profile.model_copy(update={"poll_seconds": 0.1})
        write_config(paths, config.model_copy(update={"profile": quick}))
        paths.array(1).root.mkdir(parents=True)
        record = ArrayRecord(number=1, token=f"{config.uid}-a1", elements=(0,), job_id=job_id)
        write_record(paths.array(1).record, record)
        return paths

    return made


def waited(paths, *more: str):
    return CliRunner().invoke(wait, [str(paths.root), *more])


def test_an_array_that_nobody_knows_of_ends_the_wait_with_the_reason(sweep, programs):
    programs("squeue", "exit 0")
    shown = waited(sweep(None))
    assert shown.exit_code == 101
    assert "sweep resume" in shown.output


def test_an_array_that_is_just_being_submitted_is_waited_for(sweep, programs):
    programs("squeue", "exit 0")
    paths = sweep(None)
    with Lease(SearchPaths(paths.root)):
        began = time.monotonic()
        assert waited(paths, "--timeout", "1").exit_code == 101
        assert time.monotonic() - began >= 1


def test_a_slurm_that_does_not_answer_is_waited_for(sweep, programs):
    programs("squeue", "exit 1")
    shown = waited(sweep("41"), "--timeout", "0.5")
    assert (shown.exit_code, "not over after" in shown.output) == (101, True)


def test_what_looks_lost_is_looked_at_again(sweep, programs, tmp_path):
    """The job is over for Slurm before its result is seen here."""
    paths = sweep("41")
    left = ElementResult(number=0, token=f"{read_config(paths).uid}-a1", state="done")
    write_record(tmp_path / "late.json", left)
    folder = paths.element(0).root
    programs(
        "squeue", f"mkdir -p {folder}; test -e {tmp_path}/asked && cp {tmp_path}/late.json {paths.element(0).result}; "
        f"touch {tmp_path}/asked",
    )  # fmt: skip
    assert waited(paths).exit_code == 0


def test_what_stays_lost_ends_the_wait(sweep, programs):
    programs("squeue", "exit 0")
    shown = waited(sweep("41"))
    assert (shown.exit_code, "lost" in shown.output) == (100, True)


def test_a_launch_whose_submit_got_no_answer_says_how_to_go_on(make, programs, tmp_path):
    programs("sbatch", 'test "$1" = --parsable && echo Welcome; exit 0')
    given = profiles(tmp_path)
    shown = CliRunner().invoke(
        launch, ["-y", "--max-nodes=1", "--researchers=random", f"--profile={given['profile']}", f"--inner-profile={given['inner_profile']}"]
    )  # fmt: skip
    assert isinstance(shown.exception, SubmitUnavailable)
    assert "hpc-trex sweep resume sweep-1" in shown.exception.hint
