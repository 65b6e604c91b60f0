"""The benchmark of the Researchers: which searches it runs, in which order, and what its table makes of them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from benchmarks.researchers import (
    PLAYBOOK,
    Outcome,
    interval,
    jobs,
    label,
    make_sweeps,
    open_jobs,
    sweeps,
    table,
    together,
)
from hpc_trex.files import write_record
from hpc_trex.sweep.records import ElementResult

ARMS = {
    "playbook",
    "playbook, without bad-cases",
    "playbook, without insights",
    "playbook, greedy",
    "playbook, sequential",
    "tpe",
    "random",
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path))
    monkeypatch.setenv("HPC_TREX_KNOWLEDGE", "off")
    given = argparse.Namespace(
        folder=tmp_path, tasks=("mini-extract",), suite=None, seeds=(0, 1), cpu_seconds=90.0, rounds=8, trials=1
    )
    make_sweeps(given)
    return given


def arm(job) -> str:
    one = job.element
    return label((one.researcher, one.policy, one.without))


def test_every_arm_runs_every_seed_under_the_same_cap_a_whole_seed_after_the_other(made):
    found = jobs()
    assert [job.element.seed for job in found] == [0] * 7 + [1] * 7
    assert {arm(job) for job in found[:7]} == {arm(job) for job in found[7:]} == ARMS
    assert [arm(job) for job in found[:7]] != [arm(job) for job in found[7:]], "arms of a seed stand at random"
    assert [(job.paths, job.element) for job in jobs()] == [(job.paths, job.element) for job in found]
    caps = {config.search_cpu_hours for _, config in sweeps()}
    assert caps == {(90 + 2 * 600) / 3600}, "what a training and the test reserve comes on top"


def test_what_is_done_is_not_run_again_and_a_second_start_keeps_the_settings(made):
    first, second = jobs()[:2]
    done = ElementResult(number=first.element.number, token="t", state="done")
    path = first.paths.element(first.element.number).result
    path.parent.mkdir(parents=True)
    write_record(path, done)
    made.cpu_seconds = 1.0
    make_sweeps(made)
    assert {config.search_cpu_hours for _, config in sweeps()} == {1290 / 3600}
    missing, running = open_jobs()
    assert (len(missing), running) == (13, 0)
    assert missing[0].element == second.element


def outcome(arm: tuple[str, str, str], seed: int, test: float, course: str = "a") -> Outcome:
    return Outcome("mini-extract", arm, seed, 0.2, 0.8, 0.7, 0.25, test, 100.0, 5, 6, (course,))


def test_the_table_pairs_each_arm_with_the_playbook_by_seed(made):
    rest = ("random", "uct", "nothing")
    found = [outcome(PLAYBOOK, seed, 0.5 + seed / 10) for seed in range(3)]
    found += [outcome(rest, 2, 0.6, "b"), outcome(rest, 1, 0.5), outcome(rest, 7, 0.9)]
    _, _, first, second = table(found).splitlines()
    cells = [cell.strip() for cell in second.strip("|").split("|")]
    assert cells[:3] == ["mini-extract", "random", "3"]
    assert cells[6] == "0.250"
    assert cells[8].startswith("+0.417 ["), "the gain over the base model on the test"
    assert cells[9:11] == ["-0.100 [-0.100, -0.100]", "1/2"], "seed 7 has no partner"
    assert [cell.strip() for cell in first.strip("|").split("|")][9:11] == ["-", "-"]
    assert cells[11:] == ["100", "5.0", "6.0"]


def test_a_suite_has_the_whole_arms_only_and_its_tasks_count_alike_in_the_end(made):
    made.folder, made.suite, made.tasks, made.seeds = made.folder / "suite", "ftbench-mini", ("mini-forms",), (0,)
    os.environ["HPC_TREX_HOME"] = str(made.folder)  # the fixture puts it back
    made.folder.mkdir()
    make_sweeps(made)
    assert {arm(job) for job in jobs()} == {arm for arm in ARMS if "without" not in arm}
    rest = ("random", "uct", "nothing")
    pairs = [("mini-forms", 0, 0.1), ("mini-forms", 1, 0.1), ("mini-sets", 0, -0.3)]
    found = [outcome(PLAYBOOK, seed, 0.5)._replace(task=task) for task, seed, _ in pairs]
    found += [outcome(rest, seed, 0.5 + more)._replace(task=task) for task, seed, more in pairs]
    *_, last = together(found).splitlines()
    assert last == "| random | 2 | 1 | 1 | -0.100 [-0.300, +0.100] |"


def test_an_interval_holds_its_mean_and_one_value_has_none():
    value = interval([0.1, 0.2, 0.6])
    assert value.low is not None
    assert value.high is not None
    assert value.mean == pytest.approx(0.3)
    assert 0.1 <= value.low < 0.3 < value.high <= 0.6
    assert interval([0.1, 0.2, 0.6]) == value
    assert interval([0.4]) == (0.4, None, None)
