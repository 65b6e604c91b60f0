"""``hpc-trex ftbench fetch`` and ``verify`` against a real git repository, a real HTTP server and a Hub on loopback."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from hpc_trex.ftbench.built import find_built
from hpc_trex.ftbench.cards import load_card
from hpc_trex.launch import LaunchOptions, create_search, plan_launch
from tests.unit.staging.hub import FIRST, SECOND, Repository
from tests.unit.staging.upstream import SEALED, UPSTREAM, Upstream

Trex = Callable[..., Result]


def test_a_task_is_fetched_once_whole_and_its_test_lies_apart(upstream: Upstream, trex: Trex, tmp_path: Path):
    card, stage = upstream.card(), tmp_path / "stage"
    planned = json.loads(trex("ftbench", "fetch", card, "-n", "--json").stdout)
    assert planned["tasks"][0]["state"] == "would fetch"
    assert any(UPSTREAM in note for note in planned["tasks"][0]["notes"])
    assert not stage.exists(), "a dry run makes nothing"
    assert f"ftbench fetch {card}" in trex("stage", "--task", card).stdout
    assert trex("launch", "--task", card, "-n", code=3).stderr.count(f"ftbench fetch {card}") == 1
    assert f"ftbench fetch {card}" in trex("ftbench", "show", card).stdout

    told = json.loads(trex("ftbench", "fetch", card, "--json").stdout)["tasks"][0]
    assert told["state"] == "fetched"
    folder = Path(told["folder"])
    found = {name: (folder / table["file"]).read_text() for name, table in told["build"]["tables"].items()}
    assert json.loads(found["train"].splitlines()[0]) == {
        "visit": "train0",
        "dialogue": "what train 0 said",
        "note": "note of train 0",
    }
    assert {name: len(text.splitlines()) for name, text in found.items()} == {
        "train": 30,
        "more": 1,
        "dev": 8,
        "test": 10,
    }
    downloads = told["build"]["downloads"]
    assert downloads["dev"]["revision"] == FIRST, "the first digits are resolved and kept in full"
    assert downloads["repo"]["revision"] == upstream.commit
    assert [file["name"] for file in downloads["repo"]["files"]] == ["data/test.csv", "data/train.csv"]
    raw = (upstream.repository / "data" / "train.csv").read_bytes()
    assert downloads["repo"]["files"][1]["sha256"] == hashlib.sha256(raw).hexdigest(), "no attribute has changed a byte"
    assert downloads["more"]["sha256"] == upstream.sha256

    modes = {path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert (modes["sealed"], modes["sealed/test.jsonl"]) == (0o700, 0o400)
    assert (modes["tables"], modes["tables/train.jsonl"], modes["manifest.json"]) == (0o500, 0o400, 0o400)
    holders = [path for path in stage.rglob("*") if path.is_file() and SEALED in path.read_text(errors="replace")]
    assert holders == [folder / "sealed" / "test.jsonl"], "no download stays behind: it holds the test in plain sight"
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name], "neither a partial one nor a lock"

    upstream.hub.asked.clear()
    upstream.web.asked.clear()
    shutil.move(upstream.repository, tmp_path / "gone")
    assert json.loads(trex("ftbench", "fetch", card, "--json").stdout)["tasks"][0]["state"] == "already"
    assert "fetched on" in trex("ftbench", "show", card).stdout
    plan = plan_launch(LaunchOptions(task=str(card), name="s"))
    paths = create_search(plan)
    assert (upstream.hub.asked, upstream.web.asked) == ([], []), "a launch of a fetched task needs no network"
    assert len(paths.test.read_text().splitlines()) == 10
    assert json.loads(paths.card.read_text())["sources"]["train"]["table"] == "train", "frozen as the card has it"


def test_what_upstream_has_in_two_splits_is_counted_told_and_left_out(upstream: Upstream, trex: Trex):
    test = upstream.repository / "data" / "test.csv"
    test.write_text(test.read_text() + "x,what train 3 said,its note\nx,what test 1 said,another note\n")
    upstream.commit = upstream.committed("an overlap, and a question that stands twice")
    card = upstream.card()
    told = trex("ftbench", "fetch", card).stdout
    assert "1 rows of train stand in another split" in told
    assert "1 rows of test" in told
    shown = trex("ftbench", "show", card).stdout
    assert "train 30, dev 8, test 11" in shown
    assert "one test   row weighs 9.09 points" in shown
    paths = create_search(plan_launch(LaunchOptions(task=str(card), name="s")))
    assert len((paths.sources / "train.jsonl").read_text().splitlines()) == 29


def test_verify_finds_a_changed_table_and_a_lost_pin_and_the_hint_mends_it(
    upstream: Upstream, trex: Trex, tmp_path: Path
):
    card = upstream.card()
    trex("ftbench", "verify", card, code=3)
    trex("ftbench", "fetch", card)
    assert "visits  whole; upstream has it still" in trex("ftbench", "verify", card, "--upstream").stdout
    upstream.web.refused["/release/more.zip"] = 404
    upstream.hub.repositories["datasets/lab/visits-dev"].refs["main"] = SECOND
    moved = upstream.repository.rename(tmp_path / "away")
    done = trex("ftbench", "verify", card, "--upstream", code=1)
    assert "visits  whole; upstream has lost it" in done.stdout
    assert [f"downloads.{name}" in done.stderr for name in ("repo", "dev", "more")] == [True] * 3
    moved.rename(upstream.repository)
    upstream.web.refused, upstream.hub.repositories["datasets/lab/visits-dev"].refs["main"] = {}, FIRST

    built = find_built(load_card(str(card)).card)
    assert built is not None
    for name, text in (("train", "{}\n"), ("dev", None)):
        built.folder.chmod(0o700)
        built.table(name).parent.chmod(0o700)
        built.table(name).chmod(0o600)
        built.table(name).write_text(text) if text else built.table(name).unlink()
    (built.folder / "tables" / "planted.jsonl").write_text("{}\n")
    done = trex("ftbench", "verify", card, code=1)
    assert "visits  DAMAGED" in done.stdout
    for said in ("train.jsonl: 3 bytes", "dev.jsonl: No such file", "planted.jsonl: not in the manifest"):
        assert said in done.stderr
    assert "damaged" in trex("launch", "--task", card, "-n", code=8).stderr
    assert "damaged" in trex("ftbench", "fetch", card, code=8).stderr, "already here would not be so"
    commands = done.stderr.split("hint: fetch it anew: ")[1].strip().split("; ")
    assert commands[2] == f"hpc-trex ftbench fetch {card}"
    assert "DAMAGED" in trex("ftbench", "verify", code=1).stdout, "without a name: all that is here, whosever card"
    subprocess.run(["bash", "-c", "; ".join(commands[:2])], check=True)
    trex("ftbench", "fetch", card)
    assert "visits  whole" in trex("ftbench", "verify").stdout
    assert "whole" in trex("ftbench", "verify", card).stdout


def test_a_data_set_that_is_staged_is_not_asked_for_again(upstream: Upstream, trex: Trex):
    upstream.hub.repositories["datasets/lab/visits-dev"].files["README.md"] = b"# not asked for"
    trex("stage", "--dataset", f"lab/visits-dev@{FIRST}")
    upstream.hub.asked.clear()
    told = json.loads(trex("ftbench", "fetch", upstream.card(), "--json").stdout)["tasks"][0]["build"]
    assert upstream.hub.asked == []
    assert told["downloads"]["dev"]["revision"] == FIRST
    assert [file["name"] for file in told["downloads"]["dev"]["files"]] == ["dev.jsonl"]
    assert told["tables"]["dev"]["rows"] == 8


def test_consent_is_given_in_words_and_kept(upstream: Upstream, trex: Trex):
    consent = upstream.line("downloads.dev").replace('MIT"', 'MIT", consent = "I will not share it."')
    card = upstream.card(**{"downloads.dev": consent})
    assert "with --accept you agree: I will not share it." in trex("ftbench", "fetch", card, "-n").stdout
    assert f"fetch {card} --accept" in trex("ftbench", "fetch", card, code=2).stderr
    told = json.loads(trex("ftbench", "fetch", card, "--accept", "--json").stdout)["tasks"][0]
    assert told["build"]["downloads"]["dev"]["accepted"] == "I will not share it."


def test_several_tasks_are_fetched_though_one_is_refused(upstream: Upstream, trex: Trex, tmp_path: Path):
    card = upstream.card().rename(tmp_path / "good.toml")
    wrong = upstream.card(name='name = "wrong"', **{"downloads.more": f'downloads.more = {{ kind = "file", url = "{upstream.web.address}/nothing" }}'})  # fmt: skip
    done = trex("ftbench", "fetch", wrong, card, "--json", code=3)
    told = json.loads(done.stdout)
    assert [one["task"] for one in told["tasks"]] == ["visits"]
    assert [one["task"] for one in told["failed"]] == [str(wrong)]
    assert f"error: {wrong}: {upstream.web.address}/nothing is gone" in done.stderr


def test_rows_are_brought_to_an_empty_pool_and_forbidden_ones_are_refused(
    upstream: Upstream, trex: Trex, tmp_path: Path
):
    none = {"sources.train": "sources = {}", "sources.more": "", "training_allowed": "training_allowed = false"}
    card = upstream.card(**none)
    trex("ftbench", "fetch", card)
    assert "FORBIDDEN by its licence" in trex("ftbench", "show", card).stdout
    empty = trex("launch", "--task", card, "-n", code=2).stderr
    assert "has no training rows of its own" in empty
    assert f"--task {card} --source NAME=FILE" in empty
    ready, own = tmp_path / "ready.jsonl", tmp_path / "own.csv"
    ready.write_text('{"prompt": "asked", "answer": "said"}\n')
    own.write_text("dialogue,note\nspoken,written\n")
    plan = plan_launch(LaunchOptions(task=str(card), name="s", source=(f"ready={ready}", f"own={own}")))
    paths = create_search(plan)
    found = [json.loads((paths.sources / f"{name}.jsonl").read_text()) for name in ("ready", "own")]
    assert [(row["prompt"], row["answer"]) for row in found] == [("asked", "said"), ("spoken", "written")]
    assert "brought with --source" in json.loads(paths.card.read_text())["sources"]["own"]["licence"]

    built = find_built(load_card(str(card)).card)
    assert built is not None
    forbidden = "has rows of visits, whose licence forbids training"
    own_card, recipe, link = tmp_path / "own.toml", tmp_path / "recipe.toml", tmp_path / "renamed.jsonl"
    link.symlink_to(built.table("dev"))
    origin = f'[sources.x]\npath = "{link}"\n'
    own_card.write_text(f'name = "own"\ndev = {{ path = "ready.jsonl" }}\ntest = {{ path = "ready.jsonl" }}\n{origin}')
    assert forbidden in trex("launch", "--task", own_card, "-n", code=2).stderr
    recipe.write_text('steps = [{ op = "load", source = "x" }]\n' + origin)
    assert forbidden in trex("data", "run", recipe, "-n", code=2).stderr
    (tmp_path / "bad.jsonl").write_text('{"question": "?"}\n')
    (tmp_path / "x.xlsx").write_text("")
    for words, said in (
        (f"mine={built.table('dev')}", "whose licence forbids training"),
        (f"mine={built.table('dev').parent}", "whose licence forbids training"),
        (f"mine={built.table('test')}", "sealed test"),
        (f"mine={built.folder}", "sealed test"),
        (f"test={ready}", "what the rows to measure on are called"),
        (f"mine={tmp_path}/bad.jsonl", "'dialogue' is undefined"),
        (f"mine={tmp_path}/nothing.jsonl", "no file"),
        (f"mine={tmp_path}/x.xlsx", "neither .jsonl"),
        (f"{ready}", "not NAME=FILE"),
        (f"../x={ready}", "not NAME=FILE"),
    ):
        assert said in trex("launch", "--task", card, "--source", words, "-n", code=2).stderr, words
    twice = ("--source", f"a={ready}", "--source", f"a={own}")
    assert "there is a source a already" in trex("launch", "--task", card, *twice, "-n", code=2).stderr
    ready.write_text('{"prompt": "what dev 3 said", "answer": "note 3"}\n')
    with pytest.raises(Exception, match="also stands in dev"):
        create_search(plan_launch(LaunchOptions(task=str(card), name="t", source=(f"ready={ready}",))))


def test_what_is_left_of_a_table_that_the_test_was_carved_out_of_is_sealed_too(upstream: Upstream, trex: Trex):
    """LawBench has no other rows: the rest of them is test data of upstream, and nobody's training source."""
    test = 'tables.test = { of = "all", rows = 5 }'
    card = upstream.card(**{"tables.test": f'tables.all = {{ from = "repo", path = "data/test.csv" }}\n{test}'})
    trex("ftbench", "fetch", card)
    built = find_built(load_card(str(card)).card)
    assert built is not None
    assert sorted(path.name for path in (built.folder / "sealed").iterdir()) == ["all.jsonl", "test.jsonl"]
    rest = f"mine={built.table('all')}"
    assert "sealed test" in trex("launch", "--task", card, "--source", rest, "-n", code=2).stderr
    assert built.folder.joinpath("tables", "train.jsonl").is_file()


@pytest.mark.parametrize("name", ["aci-bench", "econlogicqa"])
def test_a_real_card_builds_its_tables_of_a_place_of_upstreams_shape(upstream: Upstream, trex: Trex, name: str):
    """The rows are our own samples, in upstream's files and columns; the commit is that of our repository."""
    folder = Path(__file__).parents[3] / "ftbench" / name
    card = load_card(name).card
    found: dict[str, list[dict[str, object]]] = {}
    for line in (folder / "samples.jsonl").read_text().splitlines():
        sample = json.loads(line)
        found.setdefault(sample["table"], []).append(sample["row"])
    assert set(found) == set(card.tables), "a sample of every table"
    files = {}
    for table, samples in found.items():
        text = io.StringIO()
        writer = csv.DictWriter(text, samples[0].keys())
        writer.writeheader()
        writer.writerows(samples)
        files[str(card.tables[table].path)] = text.getvalue()
    (download,) = card.downloads.values()
    toml = (folder / "card.toml").read_text()
    if download.kind == "git":
        for path, text_ in files.items():
            (upstream.repository / path).parent.mkdir(parents=True, exist_ok=True)
            (upstream.repository / path).write_text(text_)
        upstream.git("add", "-A")
        toml = toml.replace(download.revision, upstream.committed(name)).replace(download.url, UPSTREAM)
    else:
        raw = {path: text_.encode() for path, text_ in files.items()}
        commit = download.revision.ljust(40, "0")
        upstream.hub.repositories[f"datasets/{download.id}"] = Repository(raw, refs={"main": commit})
    own = upstream.folder / "own.toml"
    own.write_text(toml)
    built = json.loads(trex("ftbench", "fetch", own, "--accept", "--json").stdout)["tasks"][0]["build"]
    assert {table: built["tables"][table]["rows"] for table in found} == {
        one: len(rows_) for one, rows_ in found.items()
    }
    paths = create_search(plan_launch(LaunchOptions(task=str(own), name=name)))
    assert len(paths.test.read_text().splitlines()) == len(found["test"])
