"""``hpc-trex ftbench list`` and ``show``: what a person wants to know of a task before launching it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from hpc_trex.ftbench.cards import LoadedCard, load_card
from hpc_trex.ftbench.overview import TEN, half_width, overview, overviews, points
from hpc_trex.layout import SearchPaths
from hpc_trex.models import CAPABILITIES
from hpc_trex.site import shipped
from hpc_trex.tree.openings import TestOpened as Opened
from hpc_trex.tree.store import Store
from tests.unit.cli.conftest import read_json

Trex = Callable[..., Result]


def test_the_list_tells_suite_sizes_licence_and_whether_one_may_train(trex: Trex):
    rows = {line.split()[0]: line for line in trex("ftbench", "list").stdout.splitlines()}
    assert set(TEN) <= set(rows)
    assert rows["mini-triage"].split()[:6] == ["mini-triage", "ftbench-mini", "accuracy", "1600", "200", "400"]
    assert "ready" in rows["mini-triage"]
    assert "FORBIDDEN" in rows["openfindata"]
    assert "not fetched" in rows["aci-bench"]
    told = {task["name"]: task for task in read_json(trex("ftbench", "list", "--json"))["tasks"]}  # type: ignore[attr-defined]
    assert {task["suite"] for name, task in told.items() if name in TEN} == {"ftbench"}
    assert told["mini-listops"]["row_counts"] == {"train": 1600, "dev": 200, "test": 400}
    assert told["aci-bench"]["row_counts"] == {"train": None, "dev": None, "test": None}
    assert told["gta"]["row_counts"]["train"] == 0, "an empty pool is known to be one"


@pytest.mark.parametrize("name", TEN)
def test_each_real_task_says_what_it_exercises_and_where_its_published_scores_are_from(name: str):
    card = load_card(f"ftbench:{name}").card
    assert card.name == name
    assert card.capabilities
    assert set(card.capabilities) <= set(CAPABILITIES)
    assert card.licence not in ("", "unknown")
    assert card.references
    for reference in card.references:
        assert reference.source
    assert any(reference.role == "trex" for reference in card.references)
    assert card.test.table is not None, "so that fetch seals it"
    assert card.training_allowed or not card.sources


def test_show_tells_what_one_row_weighs(trex: Trex):
    text = trex("ftbench", "show", "mini-triage").stdout
    assert "one dev    row weighs 0.50 points; a share near one half is known to about ±6.9 points" in text
    assert (points(40), round(half_width(40), 1)) == (2.5, 15.5)
    real = trex("ftbench", "show", "ftbench:aci-bench").stdout
    for said in ("CC-BY-4.0; training on it is allowed", "https://github.com/wyim/aci-bench at ", "arXiv 2604.14116",
                 "not fetched on this site: hpc-trex ftbench fetch aci-bench"):  # fmt: skip
        assert said in real
    assert "FORBIDDEN by its licence" in trex("ftbench", "show", "openfindata").stdout
    assert trex("ftbench", "show", "aci-bench", "--toml", "--json").exit_code == 2


def test_show_does_not_call_a_row_of_a_small_group_as_light_as_others(trex: Trex, tmp_path: Path):
    text = (shipped() / "ftbench" / "mini-triage" / "card.toml").read_text()
    grouped = '[metric]\nkeep = ["prompt"]\ngroups = "prompt"\naverage = "groups"\n'
    (tmp_path / "card.toml").write_text(text.replace("[metric]\n", grouped))
    said = trex("ftbench", "show", str(tmp_path / "card.toml")).stdout
    assert "row weighs 0.50 points on average, each prompt as a whole the same; a share near" in said
    assert "is known to at best ±6.9 points" in said


def test_the_card_that_show_prints_is_the_card(trex: Trex, tmp_path: Path):
    for name in ("mini-triage", "lawbench"):
        path = tmp_path / f"{name}.toml"
        path.write_text(trex("ftbench", "show", name, "--toml").stdout)
        assert load_card(str(path)).card == load_card(name).card


def test_show_counts_the_searches_that_have_opened_the_test(trex: Trex, make_search: Callable[..., SearchPaths]):
    paths = make_search("first")
    make_search("second")
    text = trex("ftbench", "show", "mini-listops").stdout
    assert "the test, by none of 2 searches here" in text
    with Store.open(paths) as store:
        for attempt in (1, 2):
            store.record(Opened(node=1, trial=3, attempt=attempt, why="the end"))
    text = trex("ftbench", "show", "mini-listops").stdout
    assert "the test, by 1 of 2 searches here: first" in text
    assert read_json(trex("ftbench", "show", "mini-listops", "--json"))["task"]["openings"] == {"first": 1, "second": 0}  # type: ignore[index]
    assert "searches here" not in trex("ftbench", "show", "mini-triage").stdout


def test_a_card_of_ones_own_site_is_of_no_suite_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trex: Trex):
    folder = tmp_path / "site" / "ftbench" / "mine"
    folder.mkdir(parents=True)
    (folder / "card.toml").write_text(trex("ftbench", "show", "mini-triage", "--toml").stdout)
    monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path / "site"))
    assert [one.suite for one in overviews()[0] if one.loaded.origin.parent == folder] == ["own"]
    beside = shipped() / "my-task.toml"
    assert overview(LoadedCard(load_card("mini-triage").card, beside)).suite == "own", "in the checkout, not of it"


def test_a_broken_card_of_the_site_is_named_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trex: Trex
):
    for name, text in (("broken", "name = 3\n"), ("mine", trex("ftbench", "show", "mini-triage", "--toml").stdout)):
        folder = tmp_path / "site" / "ftbench" / name
        folder.mkdir(parents=True)
        (folder / "card.toml").write_text(text)
    monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path / "site"))
    for words in ((), ("--suite", tmp_path / "site" / "ftbench")):
        done = trex("ftbench", "list", *words)
        assert done.exit_code == 2
        assert done.stderr.count("error:") == 1
        assert "broken/card.toml: name" in done.stderr
        assert "  own  " in done.stdout
        assert bool(words) or set(TEN) <= {line.split()[0] for line in done.stdout.splitlines()}
    told = trex("ftbench", "list", "--suite", tmp_path / "site" / "ftbench", "--json").stdout
    assert [task["name"] for task in json.loads(told)["tasks"]] == ["mini-triage"]


def test_a_card_with_data_sets_of_the_hub_says_how_they_are_brought(tmp_path: Path, trex: Trex):
    card = tmp_path / "my task.toml"
    card.write_text(
        f'name = "hub"\nsources.a = {{ hub = "a/b", split = "train", revision = "{"a" * 40}" }}\n'
        f'dev = {{ hub = "a/b", split = "dev", revision = "{"a" * 40}" }}\ntest = {{ path = "test.jsonl" }}\n'
    )
    (tmp_path / "test.jsonl").write_text('{"prompt": "p", "answer": "a"}\n')
    for words in (("fetch",), ("show",)):
        assert f"hpc-trex stage --task '{card}'" in trex("ftbench", *words, card).stdout
