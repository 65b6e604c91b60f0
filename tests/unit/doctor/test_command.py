"""``hpc-trex doctor`` without Slurm: quick, whole, and it leaves nothing behind."""

from __future__ import annotations

import json

import pytest

from tests.program import trex


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))


def test_it_looks_at_the_machine_and_leaves_nothing_behind(tmp_path):
    body = json.loads(trex("doctor", "--json").stdout)
    assert body["schema"] == 1
    assert (body["profile"], body["directory"]) == ("local", str(tmp_path / "searches"))
    names = [check["name"] for check in body["checks"]]
    wanted = ["file system", "room", "umask", "folders above", "whole files", "database", "lock test", "file locks", "clock",
              "versions", "containers", "sandbox", "GPUs", "flash-attn", "network, login"]  # fmt: skip
    assert [name for name in names if name in wanted and name != "quota"] == wanted
    assert all(check["remedy"] for check in body["checks"] if check["verdict"] != "ok")
    assert "probe job" not in names
    assert not list(tmp_path.iterdir())


def test_a_failure_ends_with_8_and_says_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    done = trex("doctor", "--directory", tmp_path / "file" / "searches", code=8)
    assert "failure  directory" in done.stdout
    assert "-> choose another: --directory, HPC_TREX_HOME" in done.stdout
    assert "1 to mend" in done.stdout


def test_commands_that_are_not_there_are_lines_not_crashes(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = trex("doctor", "--profile", "example-gres", code=8)
    assert "failure  sbatch" in done.stdout
    assert "failure  squeue" in done.stdout
    assert "Traceback" not in done.stderr
    trex("doctor", "--profile", "no-such", code=3)
    assert not list(tmp_path.iterdir())
