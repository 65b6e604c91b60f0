"""Profiles on a real Slurm: made from the live cluster, proved by it, and looked at before a search is made."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from hpc_trex.models import SearchState
from hpc_trex.slurm.profiles import load_profile
from tests.cluster.conftest import started
from tests.noop import finish, noop_profile, noop_search
from tests.program import trex

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def _home(tmp_path, testcluster, monkeypatch):
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPC_TREX_SITE", raising=False)


def profile_file(path: Path, text: str) -> Path:
    base = "[train]\ngpus_per_node = {gpus}\nmem_gb = 1\nminutes = {minutes}\n[evaluate]\nmem_gb = 1\nminutes = 5\n"
    path.write_text('scheduler = "slurm"\n' + text + base.format(gpus=9 if "nine" in path.stem else 1, minutes=10))
    return path


def test_init_writes_a_profile_that_slurm_takes_and_never_over_another(tmp_path):
    done = trex("profile", "init", "--name", "mine")
    assert "next: hpc-trex profile check ./mine.toml" in done.stdout
    profile = load_profile(tmp_path / "mine.toml")
    assert (profile.partition, profile.gpu_request, profile.gpus_on_a_node) == ("main", "gres", 8)
    assert (profile.max_array, profile.accounting, profile.preemption) == (1001, "yes", "REQUEUE")
    assert (profile.max_minutes, profile.train.cpus_per_task, profile.train.mem_gb) == (1440, 2, 7.0)
    rows = json.loads(trex("profile", "check", "./mine.toml", "--json").stdout)["shapes"]
    assert list(rows) == ["train", "prepare", "evaluate", "controller"]
    assert all(re.match(r"would start at \d{4}-\d\d-\d\dT", row["says"]) for row in rows.values())
    assert "exists already" in trex("profile", "init", "--name", "mine", code=2).stderr
    trex("profile", "init", "--name", "mine", "--partition", "high", "--force")
    assert load_profile(tmp_path / "mine.toml").preemption == "OFF"
    assert "nothing was written" in trex("profile", "init", "-n", "-o", "other.toml").stdout
    assert not (tmp_path / "other.toml").exists()
    assert "did you mean high" in trex("profile", "init", "--partition", "hig", code=3).stderr


def test_init_writes_into_the_site_folder_where_there_is_one_and_a_search_runs_on_it(tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("HPC_TREX_SITE", str(site))
    assert "next: hpc-trex profile check trex" in trex("profile", "init").stdout
    assert "trex" in trex("profile", "list").stdout
    made = load_profile("trex")
    quick = made.model_copy(update={"python": noop_profile().python, "poll_seconds": 0.3, "parallel": 4})
    assert finish(noop_search(tmp_path, quick, max_nodes=0)) == SearchState.DONE.value


def test_a_site_without_accounting_is_found_out(tmp_path, monkeypatch):
    with started("-A", "-g", "0"):
        assert "partition open to you shows GPUs" in trex("profile", "init", "--name", "bare").stdout
        trex("profile", "check", "./bare.toml")
    profile = load_profile(tmp_path / "bare.toml")
    assert (profile.accounting, profile.gpus_on_a_node, profile.train.gpus_per_node) == ("no", 0, 0)


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("nowhere", 'partition = "nope"\n', "correct in profile nowhere: partition"),
        ("nine", 'partition = "main"\n', "train.gpus_per_node"),
        ("typed", 'partition = "main"\ngpu_type = "a100"\n', "gpu_type"),
    ],
)
def test_what_slurm_refuses_is_found_by_check_and_before_a_launch_makes_anything(tmp_path, name, text, hint):
    path = profile_file(tmp_path / f"{name}.toml", text)
    checked = trex("profile", "check", path, code=5)
    assert "refused  train" in checked.stdout
    assert hint in checked.stdout
    for options in (["--dry-run"], ["-y", "-d"]):
        refused = trex("launch", "--profile", path, "--name", name, *options, code=5)
        assert hint in refused.stderr
    assert not (tmp_path / "searches").exists()


def test_what_the_profile_itself_forbids_is_refused_without_asking_slurm(tmp_path):
    path = profile_file(tmp_path / "limits.toml", 'partition = "main"\nmax_minutes = 60\ngpus_on_a_node = 8\n')
    refused = trex("launch", "--profile", path, "--minutes", 61, "-n", code=2)
    assert "train.minutes = 61" in refused.stderr
    assert "hint: train.minutes = 60 or less" in refused.stderr
    refused = trex("launch", "--profile", path, "--processes", 9, "-n", code=2)
    assert "train.gpus_per_node = 9" in refused.stderr
    path.write_text('scheduler = "slurm"\n[train]\nminutes = "UNLIMITED"\n')
    assert "there is no unlimited" in trex("profile", "check", path, code=2).stderr


def test_a_launch_shows_when_slurm_would_start_its_jobs(tmp_path):
    shown = trex("launch", "--profile", "testcluster", "-n").stdout
    assert (
        len(re.findall(r"^Slurm says  a job to (?:train|evaluate) +would start at \S+ on trex\d", shown, re.MULTILINE))
        == 2
    )


def test_resume_on_a_profile_that_slurm_refuses_changes_nothing(tmp_path):
    search = noop_search(tmp_path, noop_profile())
    before = (search.root / "events.jsonl").read_bytes()
    refused = trex("resume", search.root, "--profile", profile_file(tmp_path / "nine.toml", ""), code=5)
    assert "train.gpus_per_node" in refused.stderr
    limited = profile_file(tmp_path / "limited.toml", "max_minutes = 5\n")
    assert "train.minutes = 10" in trex("resume", search.root, "--profile", limited, "-n", code=2).stderr
    assert (search.root / "events.jsonl").read_bytes() == before
    good = profile_file(tmp_path / "good.toml", 'partition = "main"\n')
    assert "Slurm says  a job to train" in trex("resume", search.root, "--profile", good, "-n").stdout
    assert (search.root / "events.jsonl").read_bytes() == before


def test_a_slurm_that_does_not_answer_is_a_warning_at_launch_and_an_error_of_init_and_check(
    tmp_path, testcluster, monkeypatch
):
    text = testcluster.conf.read_text()
    port = re.search(r"^SlurmctldPort=(\d+)", text, re.MULTILINE)[1]
    dead = tmp_path / "slurm.conf"
    dead.write_text(
        text.replace(f"SlurmctldPort={port}", "SlurmctldPort=9").replace("MessageTimeout=10", "MessageTimeout=2")
    )
    monkeypatch.setenv("SLURM_CONF", str(dead))
    begun = time.monotonic()
    assert "warning: Slurm does not take job train now" in trex("launch", "--profile", "testcluster", "-n").stdout
    assert "does not answer" in trex("profile", "init", code=8).stderr
    assert "nothing is proved" in trex("profile", "check", "testcluster", code=8).stderr
    assert time.monotonic() - begun < 60
