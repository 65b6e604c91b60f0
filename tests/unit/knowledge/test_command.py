"""``hpc-trex insights`` on a real search directory and a real base."""

from __future__ import annotations

import json
import shutil

import pytest

from hpc_trex.knowledge.base import read_base, remember
from hpc_trex.models import Insight
from hpc_trex.tree import events as ev
from hpc_trex.tree.store import Store
from tests.unit.controller.conftest import drive
from tests.unit.knowledge.making import finding, remembered


@pytest.fixture
def over(search, cluster):
    """A search that is over and went into no base."""
    paths = search(max_nodes=2)
    drive(paths, cluster).close()
    return paths


def body(result) -> dict:
    assert result.exit_code == 0, result.output
    read = json.loads(result.stdout)
    assert read["schema"] == 1
    return read


def test_insights_are_shown_as_they_stand_and_with_history_those_that_were_taken_back(over, trex):
    with Store.open(over) as store:
        for text, node in (("dedup gained +0.200 (node 1)", 1), ("dedup lost -0.100 (nodes 1, 2)", 2)):
            insight = Insight(text=text, nodes=(1, node), kind="move:dedup")
            store.record(ev.NodeDiagnosed(node=node, report="r", insights=(insight,)))
    plain, long = trex("insights", over.root.name), trex("insights", over.root.name, "--history")
    assert "dedup lost -0.100" in plain.stdout
    assert "move:dedup; rounds 1, 2; said by node 2" in plain.stdout
    assert "dedup gained" not in plain.stdout
    assert "taken back: dedup gained +0.200 (node 1)" in long.stdout
    assert "because: dedup lost -0.100" in long.stdout
    told = body(trex("insights", "--last", "--history", "--json"))["insights"]
    assert [(one["fate"], one["by"]) for one in told if one["kind"] == "move:dedup"] == [
        ("taken back", 1),
        ("stands", 2),
    ]


def test_an_older_search_is_added_once_shown_with_its_evidence_and_forgotten(over, base, trex):
    assert trex("insights", "--import", over.root, "--dry-run").exit_code == 0
    assert not base.exists()
    for _ in range(2):
        assert trex("insights", "--import", over.root.name).exit_code == 0
    (one,) = read_base(base)
    shown = trex("insights", "--all")
    assert f"knowledge base {base}: 1 search(es)" in shown.stdout
    assert one.findings
    for found in one.findings:
        assert found.move in shown.stdout
    assert f"{one.name} ({one.ended[:10]})" in shown.stdout
    shutil.rmtree(over.root)
    assert trex("insights", "--forget", one.name, "-n").exit_code == 0
    assert len(read_base(base)) == 1
    assert trex("insights", "--forget", one.name).exit_code == 0
    assert read_base(base) == []
    assert trex("insights", "--forget", one.name).exit_code == 3


def test_all_can_be_asked_for_a_task_and_a_model(base, trex):
    near = remembered("near", finding(effect=0.4), task="mini-triage")
    far = remembered(
        "far", finding("dedup"), task="chat", task_digest="x", tags=("chat",), metric="rouge1", model="z/Big-70B"
    )
    remember(base, [near, far])
    assert {one["move"] for one in body(trex("insights", "--all", "--json"))["lessons"]} == {"clean", "dedup"}
    for_task = body(trex("insights", "--all", "--task", "mini-triage", "--json"))
    assert [one["move"] for one in for_task["lessons"]] == ["clean"]
    (for_both,) = body(trex("insights", "--all", "--task", "mini-triage", "--model", "q/New-3B", "--json"))["lessons"]
    assert for_both["weight"] == pytest.approx(0.6)
    assert for_both["evidence"][0]["nodes"] == [1, 2]
    by_card = body(trex("insights", "--all", "--task", "mini-extract", "--json"))
    assert by_card["target"]["tags"] == ["base-ability", "extraction"]


def test_two_searches_of_one_name_are_told_apart_by_their_uid(base, trex):
    remember(base, [remembered("u1", name="same"), remembered("u2", name="same")])
    refused = trex("insights", "--forget", "same")
    assert refused.exit_code == 2
    assert "u1" in refused.stderr
    assert "u2" in refused.stderr
    assert trex("insights", "--forget", "u2").exit_code == 0
    assert [one.uid for one in read_base(base)] == ["u1"]


def test_a_search_that_is_not_over_cannot_go_in_and_nothing_of_the_same_command_does(over, search, base, trex):
    running = search()
    refused = trex("insights", "--import", over.root.name, running.root.name)
    assert refused.exit_code == 2
    assert f"search {running.root.name} is running" in refused.stderr
    assert not base.exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--all", "--forget"], 2),
        (["--all", "some-search"], 2),
        (["--task", "mini-triage"], 2),
        (["--dry-run"], 2),
        (["--import"], 2),
        (["--forget"], 2),
        (["a", "b"], 2),
        (["--all", "--task", "no-such-task"], 3),
        (["--import", "no-such-search"], 3),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_hint(base, trex, words, code, tmp_path, monkeypatch):
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))
    result = trex("insights", *words)
    assert result.exit_code == code
    assert result.stderr.startswith("error: ")
    assert not base.exists()


def test_where_the_base_is_off_the_commands_about_it_say_so(trex, monkeypatch):
    monkeypatch.setenv("HPC_TREX_KNOWLEDGE", "off")
    result = trex("insights", "--all")
    assert result.exit_code == 2
    assert "HPC_TREX_KNOWLEDGE is off" in result.stderr


@pytest.mark.parametrize(("value", "read"), [("off", None), ("shared.db", "shared.db")])
def test_a_project_file_names_the_groups_base_or_none(trex, tmp_path, monkeypatch, value, read):
    monkeypatch.setenv("HPC_TREX_KNOWLEDGE", "")  # set, so that what the program sets is taken away afterwards
    monkeypatch.delenv("HPC_TREX_KNOWLEDGE")
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))
    (tmp_path / "hpc-trex.toml").write_text(f'knowledge = "{value}"\n')
    result = trex("insights", "--all")
    assert result.exit_code == (2 if read is None else 0)
    if read is not None:
        assert f"knowledge base {tmp_path / read}" in result.stdout


def test_a_launch_says_what_it_starts_from_unless_it_is_told_not_to(base, trex, tmp_path, monkeypatch):
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))
    remember(base, [remembered("u", finding(), task="mini-triage")])
    line = f"knowledge  1 lesson(s) of 1 earlier search(es), from {base}"
    assert line in trex("launch", "--dry-run").stdout
    assert "knowledge" not in trex("launch", "--dry-run", "--no-knowledge").stdout
