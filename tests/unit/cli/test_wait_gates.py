"""``hpc-trex wait`` on a search that waits for a person: it says so once, with what to type, and goes on waiting."""

from __future__ import annotations

import subprocess
import sys

from hpc_trex.tree.gates import open_gate
from hpc_trex.tree.store import Store
from tests.unit.cli.test_approve import cluster, gated

__all__ = ["cluster", "gated"]

TOLD = "it waits for you: data of node 1: hpc-trex approve 1 gated\n"


def waits(paths) -> bool:
    with Store.read(paths) as store:
        return open_gate(store) is not None


def test_a_question_that_waits_already_is_told_once_and_waiting_goes_on(trex, gated):
    done = trex("wait", "gated", "--timeout", "1.5")
    assert done.exit_code == 101
    assert done.stderr.count(TOLD) == 1
    assert TOLD not in done.stdout


def test_a_question_that_comes_up_meanwhile_is_told_and_an_answered_one_is_not(trex, gated):
    assert trex("reject", "1", "gated").exit_code == 0
    command = [sys.executable, "-u", "-m", "hpc_trex", "wait", "gated", "--timeout", "120"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline().startswith("no controller is at work on it"), "told of an answered question"
        for _ in range(10):
            assert trex("tick", "gated").exit_code == 0
            if waits(gated):
                break
        assert waiting.stderr.readline() == TOLD
        assert waiting.poll() is None, "it goes on waiting"
        assert trex("cancel", "gated").exit_code == 0
        assert waiting.wait(timeout=60) == 103
        assert waiting.stderr.read() == ""


def test_nothing_is_told_of_a_search_that_asks_nobody(trex, cluster):
    from hpc_trex.launch import LaunchOptions, create_search, plan_launch

    create_search(plan_launch(LaunchOptions(name="alone", max_nodes=1)))
    assert trex("tick", "alone").exit_code == 0
    assert "waits for you" not in trex("wait", "alone", "--timeout", "0.3").stderr
