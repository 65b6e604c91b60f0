"""``hpc-trex sweep`` as a user types it, on this machine, with trainings that do no work."""

from __future__ import annotations

import json

import pytest

from hpc_trex.cli.sweep_options import Names, Numbers
from tests.noop.sweeps import maker, profiles
from tests.program import assert_whole, trex

pytestmark = pytest.mark.local


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make a sweep whose elements are processes of this machine."""
    return maker(tmp_path, monkeypatch)


SMALL = ("--max-nodes", 1, "--trials", 1, "--researchers", "random")


@pytest.fixture
def options(make, tmp_path):
    """The options of a sweep of two seeds, for the real program; ``make`` has set its folders."""
    given = profiles(tmp_path, scheduler="local")
    return ("--seeds", "0-1", *SMALL, "--profile", given["profile"], "--inner-profile", given["inner_profile"])


def test_a_sweep_without_slurm_runs_here_and_ends_with_its_table(options, tmp_path):
    shown = trex("sweep", "launch", *options, "--dry-run").stdout
    assert "2 element(s)" in shown
    assert not (tmp_path / "searches").exists()
    done = trex("sweep", "launch", *options)
    assert "element 0 is over: done" in done.stdout
    lines = done.stdout.strip().splitlines()
    assert lines[-2].startswith("task")
    assert " 2/2 " in lines[-1]
    folder = tmp_path / "searches" / "sweeps" / "sweep-1"
    for number in (0, 1):
        assert_whole(folder / "elements" / f"000{number}" / "search")
    status = json.loads(trex("sweep", "status", "--json").stdout)
    assert (status["schema"], status["elements"]) == (1, {"done": 2})
    assert status["cost"]["cpu_hours"] > 0
    body = json.loads(trex("sweep", "table", "--json").stdout)
    assert body["rows"][0]["done"] == 2
    assert trex("sweep", "table", "--csv").stdout.count("\n") == 2
    assert "2/2 done" in trex("sweep", "list").stdout
    assert "nothing is to be submitted" in trex("sweep", "resume").stdout
    assert " 2/2 " in trex("sweep", "wait", "--timeout", 1).stdout
    # the search of an element is a search like any other
    assert json.loads(trex("status", folder / "elements" / "0001", "--json").stdout)["state"] == "done"
    assert "0 element(s) would be cancelled" in trex("sweep", "cancel", "-n").stdout


def test_the_small_suite_is_a_sweep_of_its_own_tasks(make, tmp_path):
    given = profiles(tmp_path, scheduler="local")
    options = ("--tasks", "mini-forms,mini-decide", *SMALL, "--profile", given["inner_profile"])
    shown = trex("ftbench", "mini", "--dry-run", "--profile", given["inner_profile"]).stdout
    assert "10 element(s)" in shown
    assert not (tmp_path / "searches").exists()
    done = trex("ftbench", "mini", *options)
    assert done.stdout.count(" 1/1 ") == 2
    table = trex("ftbench", "table", "sweep-1").stdout
    assert done.stdout.endswith(table)
    assert all(task in table for task in ("mini-forms", "mini-decide"))
    assert "no built-in task 'mini-form'" in trex("ftbench", "mini", "--tasks", "mini-form", code=3).stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("sweep", "status", "nowhere"), 3, "no sweep 'nowhere'"),
        (("sweep", "launch", "--seeds", "3-1"), 2, "runs backwards"),
        (("sweep", "launch", "--tasks", "a,,b"), 2, "an empty name"),
        (("sweep", "launch", "--researchers", "magic", "-n"), 2, "magic"),
        (("sweep", "table", "--json", "--csv"), 2, "two formats"),
        (("sweep", "lunch"), 2, "did you mean launch"),
    ],
)
def test_bad_input(make, words, code, said):
    assert said in trex(*words, code=code).stderr


def test_a_failing_element_is_told_and_only_it_is_run_again(make, tmp_path):
    given = profiles(tmp_path, scheduler="local", environment={"TREX_NOOP_SECONDS": "0"})
    options = (*SMALL, "--seeds", "0-1", "--profile", given["profile"], "--inner-profile", given["inner_profile"])
    trex("sweep", "launch", *options, "--dry-run")
    folder = tmp_path / "searches" / "sweeps" / "sweep-1"
    from tests.noop.sweeps import noop_sweep

    noop_sweep(tmp_path, scheduler="local", seeds=(0, 1))
    card = folder / "tasks" / "00" / "task" / "card.json"
    kept = card.read_bytes()
    card.unlink()
    done = trex("sweep", "resume", code=100)
    assert done.stdout.count("failed") >= 2
    assert "go on: hpc-trex sweep resume sweep-1" in done.stdout
    card.write_bytes(kept)
    trex("sweep", "resume", "--only", 1, code=100)
    assert json.loads(trex("sweep", "status", "--json").stdout)["elements"] == {"done": 1, "failed": 1}
    assert "1 element(s) would be submitted: 0" in trex("sweep", "resume", "-n").stdout
    assert "2/2" in trex("sweep", "resume").stdout


def test_lists_come_from_words_and_from_files():
    assert Names().convert("a, b", None, None) == ("a", "b")
    assert Names().convert(["a", "b"], None, None) == ("a", "b")
    assert Numbers().convert("0-2,7", None, None) == (0, 1, 2, 7)
    assert Numbers().convert([3, 4], None, None) == (3, 4)
