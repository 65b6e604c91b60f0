"""What a user or a machine does wrong, on the real program: a clear error and exit code, or a failure class; then resume."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from hpc_trex.layout import SearchPaths
from hpc_trex.models import SearchState
from tests.program import assert_whole, start, status, trex, wait_until

pytestmark = pytest.mark.local
PATIENCE = 300.0

SMALL = ("--task", "mini-triage", "--max-nodes", 1, "--trials", 1)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--task", "mini-listop"), 3, "mini-listops"),
        (("--task", "no/such/card.toml"), 3, "card.toml"),
        (("--model", "builtin:huge"), 3, "tiny-qwen3"),
        (("--model", "./nowhere"), 3, "nowhere"),
        (("--profile", "locl"), 3, "local"),
        (("--policy", "ucb"), 2, "uct"),
        (("--max-nodes", "0"), 2, "max-nodes"),
        (("--trials", "9"), 2, "trials"),
    ],
)
def test_an_unknown_value_is_named_with_the_valid_ones(home, arguments, code, words):
    done = trex("launch", *arguments, code=code)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(home.glob("*"))


def test_a_folder_without_a_model_is_refused(home, tmp_path):
    done = trex("launch", "--model", tmp_path, code=2)
    assert "config.json" in done.stderr


def test_a_hub_id_without_network_fails_in_one_clear_line(home, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = trex("launch", "--model", "Qwen/Qwen3-1.7B", code=8)
    assert "Hugging Face Hub cannot be reached" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert not list(home.glob("*"))


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("train.jsonl", lambda text: text.replace('{"question"', '{"question', 1), "train.jsonl"),
        ("train.jsonl", lambda text: "\n".join(text.splitlines()[:4]) + '\n{"question": "only"}\n', "5"),
        ("dev.jsonl", lambda text: "", "dev has no rows"),
        ("card.toml", lambda text: text.replace("exact_match", "exact_mach"), "metric"),
        ("card.toml", lambda text: text.replace("[metric]", "[metrics]"), "metric"),
        ("card.toml", lambda text: text.replace("{{ question }}", "{{ query }}"), "query"),
        ("card.toml", lambda text: text.replace("learning_rate = 0.003", "learning_rate = -1"), "learning_rate"),
    ],
)
def test_bad_own_data_is_refused_with_file_key_or_line(home, own_card, base_model, file, change, words):
    target = own_card.parent / file
    target.write_text(change(target.read_text()))
    done = trex("launch", "--task", own_card, "--model", base_model, code=2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(home.glob("*/events.jsonl"))


def test_dev_rows_inside_the_training_data_are_refused_or_dropped_when_asked(home, own_card, base_model):
    folder = own_card.parent
    lines = (folder / "dev.jsonl").read_text().splitlines()
    with (folder / "train.jsonl").open("a") as handle:
        handle.write("\n".join(lines[:3]) + "\n")
    done = trex("launch", "--task", own_card, "--model", base_model, code=2)
    assert "train.jsonl" in done.stderr
    assert "--drop-overlap" in done.stderr
    trex("launch", "--task", own_card, "--model", base_model, "--drop-overlap", "--dry-run")


def test_a_trial_whose_worker_is_killed_is_recorded_and_the_search_goes_on(home, tmp_path, base_model):
    search = home / "struck"
    process = start("launch", "--name", "struck", "--model", base_model, *SMALL, log=tmp_path / "log")
    spec = SearchPaths(search).attempt(1, 1, 1).spec
    killed = []

    def strike() -> bool:
        for child in psutil.process_iter(["cmdline"]):
            line = child.info["cmdline"] or []
            if str(spec) in line and "hpc_trex.job.worker" in line:
                child.kill()
                killed.append(child.pid)
        return bool(killed)

    wait_until(strike, seconds=PATIENCE, what=f"the worker; see {tmp_path}/log")
    assert process.wait(timeout=600) == 0
    assert status(search)["state"] == SearchState.DONE
    first = json.loads((spec.parent / "result.json").read_text())
    assert first["state"] == "failed"
    assert first["failure"]
    assert_whole(search)


def test_two_controllers_on_one_search_are_refused(home, tmp_path, base_model):
    search = home / "twice"
    process = start("launch", "--name", "twice", "--model", base_model, *SMALL, log=tmp_path / "log")
    wait_until(SearchPaths(search).lease.exists, seconds=PATIENCE, what="the lease")
    try:
        done = trex("resume", search, code=6)
        assert str(process.pid) in done.stderr
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(timeout=PATIENCE)
    trex("resume", search)
    assert_whole(search)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 12 MB. Mounting needs root, which CI has; RLIMIT_FSIZE in the unit tests serves everybody."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root; tests/unit/tree has the same fault by RLIMIT_FSIZE")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_stops_with_exit_code_8_and_resume_works_once_there_is_room(small_disk, base_model, tmp_path):
    search = small_disk / "full"
    process = start("launch", "--directory", search, "--model", base_model, *SMALL, log=tmp_path / "log")
    wait_until(SearchPaths(search).attempt(0, 1, 1).started.exists, seconds=PATIENCE, what="the first job")
    ballast = small_disk / "ballast"
    left = shutil.disk_usage(small_disk).free
    with ballast.open("wb") as handle, contextlib.suppress(OSError):
        handle.write(b"x" * left)
    assert process.wait(timeout=300) == 8, (tmp_path / "log").read_text()
    assert "resume" in (tmp_path / "log").read_text()
    ballast.unlink()
    trex("resume", search)
    assert status(search)["state"] == SearchState.DONE
    assert_whole(search)
