"""A real training whose answers somebody edits before they are collected: struck, not chosen, and a person's to restore."""

from __future__ import annotations

import json

import pytest

from hpc_trex.layout import SearchPaths
from hpc_trex.models import SearchState
from hpc_trex.samples import read_samples, write_samples
from tests.program import start, status, trex, wait_until

pytestmark = pytest.mark.local


def test_an_edited_result_is_struck_and_not_chosen_and_restore_brings_it_back(home, tmp_path, base_model):
    search, log = home / "edited", tmp_path / "log"
    arguments = ("--task", "mini-triage", "--max-nodes", 1, "--trials", 1, "--name", "edited", "--model", base_model)
    process = start("launch", *arguments, log=log)
    files = SearchPaths(search).attempt(1, 1, 1)
    wait_until(files.started.exists, seconds=400, what=f"the training; {log.read_text()}")
    trex("pause", search)
    process.wait(timeout=120)
    wait_until(files.result.exists, seconds=400, what="its result")
    rows = list(read_samples(files.samples))
    write_samples(files.samples, [row._replace(answer=row.reference, score=1.0) for row in rows])
    trex("resume", search, timeout=900)
    found = status(search)
    assert found["state"] == SearchState.DONE
    assert found["chosen"]["node"] == 0
    assert found["nodes"] == {"done": 1, "struck": 1}
    shown = trex("show", 1, search).stdout
    assert "the answers were changed after the job wrote them" in shown
    assert "nodes/0001/trials/1/attempts/1/samples.jsonl" in shown
    baseline = json.loads(trex("show", 0, search, "--json").stdout)
    assert baseline["review"] == ["nothing found in the records of 1 trial(s)"]
    trex("strike", 0, search, "--note", "no", code=2)
    trex("restore", 1, search, "--note", "the edit was mine")
    node = json.loads(trex("show", 1, search, "--json").stdout)
    assert (node["state"], node["struck"], node["best_trial"]) == ("done", False, 1)
    assert any("overruled" in line for line in node["review"])
    assert status(search)["chosen"]["node"] == 0, "the choice stays"
    trex("db", "check", search)
