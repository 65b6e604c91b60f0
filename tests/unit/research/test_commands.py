"""``hpc-trex research`` and ``hpc-trex library`` as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpc_trex.cli.main import cli
from hpc_trex.cli.research import NAMES
from hpc_trex.research.sources import SOURCES
from tests.unit.research import shapes
from tests.unit.research.service import Service

Trex = Callable[..., Result]


@pytest.fixture
def trex() -> Trex:
    def run(*args: str | Path) -> Result:
        return CliRunner().invoke(cli, [str(arg) for arg in args])

    return run


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "noise.md").write_text(
        "# On label noise\n\nLabel noise hurts small models. C++ is not to blame. 标签噪声。"
    )
    (folder / "mix.txt").write_text("Mixing data for small models\n\nWe mix.")
    (folder / "scan.pdf").write_bytes(b"%PDF-1.7")
    return folder


@pytest.fixture
def hub(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("HF_ENDPOINT", service.url)
    return service


def test_the_sources_of_the_command_are_those_of_the_room():
    assert tuple(NAMES) == SOURCES


def test_a_library_is_made_searched_listed_and_emptied(trex: Trex, papers: Path):
    added = trex("library", "add", papers)
    assert added.exit_code == 0, added.output
    assert added.stdout.startswith("2 new, 0 changed, 0 known already, in ")
    assert "papers/scan.pdf: PDF is not read" in added.stderr
    assert "On label noise" in trex("library", "search", "C++").stdout
    assert "On label noise" in trex("library", "search", "标签").stdout
    assert trex("library", "search", '"nothing').stdout == "nothing was found\n"
    listed = trex("library", "list").stdout.splitlines()
    assert [line.split("  ")[-1].strip() for line in listed] == [
        "papers/mix.txt: Mixing data for small models",
        "papers/noise.md: On label noise",
    ]
    assert trex("library", "remove", "papers/*", "--dry-run").stdout.count("would remove") == 2
    assert trex("library", "remove", "papers/*").stdout.count("removed") == 2
    assert "the library is empty" in trex("library", "list").stdout


def test_every_reading_command_of_the_library_has_json(trex: Trex, papers: Path):
    assert json.loads(trex("library", "add", "--json", papers).stdout)["new"] == 2
    found = json.loads(trex("library", "search", "--json", "noise").stdout)
    assert found["schema"] == 1
    assert found["findings"][0]["extra"] == {"file": "papers/noise.md"}
    assert len(json.loads(trex("library", "list", "--json").stdout)["documents"]) == 2


def test_a_pack_is_carried_to_another_site(trex: Trex, papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trex("library", "add", papers)
    assert trex("library", "export", tmp_path / "pack.sqlite").exit_code == 0
    assert trex("library", "export", tmp_path / "pack.sqlite").exit_code == 2
    monkeypatch.setenv("HPC_TREX_LIBRARY", str(tmp_path / "site" / "library.sqlite"))
    assert "there is no library" in trex("library", "search", "noise").stderr
    assert trex("library", "add", tmp_path / "pack.sqlite").stdout.startswith("2 new")
    assert "On label noise" in trex("library", "search", "noise").stdout


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("search", "x"), 3),
        (("list",), 3),
        (("add", "/nowhere/at/all"), 3),
        (("export", "x.sqlite"), 3),
        (("remove", "x"), 3),
        (("search",), 2),
        (("add",), 2),
        (("find", "x"), 2),
    ],
)
def test_mistakes_have_their_exit_codes(trex: Trex, args: tuple[str, ...], code: int):
    done = trex("library", *args)
    assert done.exit_code == code
    assert "Traceback" not in done.output


def test_research_shows_what_is_found_and_what_is_missing(trex: Trex, papers: Path, hub: Service):
    hub.says([shapes.hub_data_set("acme/tickets", gated="manual")])
    trex("library", "add", papers)
    done = trex("research", "--source", "library", "--source", "datasets", "label noise")
    assert done.exit_code == 0, done.output
    assert "R1  On label noise" in done.stdout
    assert "dataset; licence cc-by-4.0; gated yes; size 4.0 MB; commit c0ffee" in " ".join(done.stdout.split())
    assert "datasets:acme/tickets" in done.stdout
    assert done.stderr == ""


def test_research_without_any_network_uses_the_library_and_says_the_rest(trex: Trex, papers: Path, hub: Service):
    trex("library", "add", papers)
    done = trex("research", "--offline", "label noise")
    assert done.exit_code == 0, done.output
    assert "On label noise" in done.stdout
    assert done.stderr.splitlines() == [
        f"{name}: offline, as asked" for name in ("arxiv", "openalex", "semantic-scholar", "datasets", "models")
    ]
    assert hub.asked == []


def test_research_that_can_ask_nobody_exits_with_8(trex: Trex, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPC_TREX_OFFLINE", "1")
    done = trex("research", "label noise")
    assert done.exit_code == 8
    assert "no source could be asked" in done.stderr
    assert "hpc-trex library add" in done.stderr


def test_a_profile_without_network_keeps_research_off_it(trex: Trex, tmp_path: Path, hub: Service):
    profile = tmp_path / "cave.toml"
    profile.write_text('scheduler = "local"\nnetwork = "none"\n')
    done = trex("research", "--profile", profile, "--source", "datasets", "label noise")
    assert done.exit_code == 8
    assert "network = none" in done.stderr
    assert hub.asked == []


def test_a_tasks_own_data_sets_are_not_shown(trex: Trex, tmp_path: Path, hub: Service):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "answer": "b"}\n')
    card = tmp_path / "card.toml"
    split = 'hub = "acme/tickets", revision = "' + "0" * 40 + '", split = '
    card.write_text(
        f'name = "own"\ndev = {{ {split}"dev" }}\ntest = {{ {split}"test" }}\n[sources.a]\npath = "a.jsonl"\n'
    )
    hub.says([shapes.hub_data_set("other/tickets"), shapes.hub_data_set("acme/queues")])
    done = trex("research", "--task", card, "--source", "datasets", "tickets")
    assert done.exit_code == 0, done.output
    assert "acme/queues" in done.stdout
    assert "other/tickets" not in done.output
    assert "left out: 1" in done.stderr


def test_json_and_text_hold_the_same_digest(trex: Trex, papers: Path):
    trex("library", "add", papers)
    body = json.loads(trex("research", "--source", "library", "--json", "label noise").stdout)
    assert body["schema"] == 1
    assert body["items"][0]["row"] == "R1"
    assert body["notes"] == [{"source": "library", "text": "", "asked": True}]
    assert trex("research", "--source", "library", "--text", "label noise").stdout == body["text"] + "\n"


@pytest.mark.parametrize("command", ["research", "library", "library add"])
def test_help_costs_no_database_no_client_and_no_records(command: str):
    code = (
        "import sys\nfrom hpc_trex.cli.main import cli\ntry:\n    cli.main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('HEAVY', sorted({'sqlite3', 'sqlite_utils', 'httpx2', 'pydantic', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split(), "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_a_limit_and_a_source_must_make_sense(trex: Trex):
    assert trex("research", "--limit", "0", "x").exit_code == 2
    assert trex("research", "--source", "google", "x").exit_code == 2
    assert trex("research").exit_code == 2
