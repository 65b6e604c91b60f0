"""One cache and several who use it: two runs of ``ftbench fetch`` at once, other users' builds, builds of other versions."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.ftbench.built import build_key, find_built
from hpc_trex.ftbench.cards import load_card
from hpc_trex.models import Download, TaskCard
from hpc_trex.staging import benchmark
from tests.unit.staging.test_benchmark_refused import as_user
from tests.unit.staging.upstream import Upstream

Trex = Callable[..., Result]


def test_a_run_that_another_has_overtaken_finds_what_it_built(
    upstream: Upstream, trex: Trex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Between the look and the claim the other run has fetched all of it."""
    card, stage = upstream.card(), tmp_path / "stage"
    loaded = load_card(str(card))
    make_root, overtaken = benchmark.make_root, []

    def slow(root: Path, *, group: bool) -> None:
        if not overtaken:
            overtaken.append(True)
            benchmark.fetch_task(loaded, stage, say=lambda _: None)
        make_root(root, group=group)

    monkeypatch.setattr(benchmark, "make_root", slow)
    said: list[str] = []
    done = benchmark.fetch_task(loaded, stage, say=said.append)
    assert (done.state, said) == ("already", []), "nothing is downloaded a second time"
    assert [path.name for path in done.folder.parent.iterdir()] == [done.folder.name]


def test_two_runs_at_once_build_once(upstream: Upstream, tmp_path: Path):
    loaded, stage = load_card(str(upstream.card())), tmp_path / "stage"
    ends: list[str] = []

    def run() -> None:
        try:
            ends.append(benchmark.fetch_task(loaded, stage, say=lambda _: None).state)
        except EnvironmentProblem as problem:
            ends.append("refused" if "another run stages the same" in problem.message else problem.message)

    runs = [threading.Thread(target=run) for _ in range(3)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert ends.count("fetched") == 1
    assert set(ends) <= {"fetched", "already", "refused"}
    assert len(list(stage.glob("ftbench/visits/*"))) == 1


def test_a_run_that_is_cleaning_up_does_not_refuse_who_finds_the_tables(upstream: Upstream, trex: Trex):
    card = upstream.card()
    folder = Path(json.loads(trex("ftbench", "fetch", card, "--json").stdout)["tasks"][0]["folder"])
    folder.with_name(f"{folder.name}.partial").mkdir()
    claim = folder.with_name(f"{folder.name}.claim")
    claim.write_text(json.dumps({"host": os.uname().nodename, "pid": os.getppid()}))
    assert "already here" in trex("ftbench", "fetch", card).stdout
    claim.unlink()
    trex("ftbench", "fetch", card)
    assert not folder.with_name(f"{folder.name}.partial").exists()


def test_a_build_of_a_version_to_come_is_not_downloaded_over(upstream: Upstream, trex: Trex):
    card = upstream.card()
    folder = Path(json.loads(trex("ftbench", "fetch", card, "--json").stdout)["tasks"][0]["folder"])
    manifest = folder / "manifest.json"
    manifest.chmod(0o600)
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 2}))
    upstream.web.asked.clear()
    done = trex("ftbench", "fetch", card, code=8)
    assert f"{folder} is there, and its manifest.json is missing, damaged or of a later version" in done.stderr
    assert f"chmod -R u+w {folder}; rm -r {folder}; then the same line again" in done.stderr
    assert upstream.web.asked == []


class LaterDownload(Download):
    mirror: str = ""


def test_a_field_that_a_later_version_adds_leaves_the_builds_where_they_are(upstream: Upstream):
    card = load_card(str(upstream.card())).card
    later = {name: LaterDownload(**one.model_dump()) for name, one in card.downloads.items()}
    assert build_key(card.model_copy(update={"downloads": later})) == build_key(card)
    words = {name: one.model_copy(update={"licence": "x"}) for name, one in card.downloads.items()}
    assert build_key(card.model_copy(update={"downloads": words})) == build_key(card)


def test_tables_that_are_carved_in_another_order_are_another_build():
    """Each is taken out of what the one before it has left."""
    lawbench = load_card("lawbench").card
    assert len([one for one in lawbench.tables.values() if one.of]) == 2
    turned = TaskCard.model_validate(
        lawbench.model_dump() | {"tables": dict(reversed(lawbench.model_dump()["tables"].items()))}
    )
    assert build_key(turned) != build_key(lawbench)


def test_somebody_elses_closed_folder_hides_neither_ones_own_nor_the_list(
    upstream: Upstream, trex: Trex, monkeypatch: pytest.MonkeyPatch
):
    place = Path(tempfile.mkdtemp(prefix="trex-closed-", dir="/tmp"))
    try:
        place.chmod(0o755)
        line = f'downloads.more = {{ kind = "file", url = "{upstream.web.address}/release/more.zip", paths = ["set/*.jsonl"] }}'
        loaded = load_card(str(upstream.card(**{"downloads.more": line})))
        theirs, mine = place / "theirs", place / "mine"
        for stage in (theirs, mine):
            trex("ftbench", "fetch", loaded.origin, "--into", stage)
        for one in (mine, *mine.rglob("*")):
            os.chown(one, 22222, 777)
        monkeypatch.setenv("HPC_TREX_STAGE", f"{theirs}:{mine}")

        def state() -> Any:
            from hpc_trex.ftbench.overview import overview

            return overview(loaded).state

        for closed, seen in ((theirs, "whole"), (theirs / "ftbench" / "visits", "listed")):
            theirs.chmod(0o700 if closed == theirs else 0o755)
            (theirs / "ftbench").chmod(0o755)
            closed.chmod(0o700)
            assert as_user(22222, 777, state) == "fetched", seen
            assert as_user(22222, 777, lambda: find_built(loaded.card).folder.is_relative_to(mine)) == "True"  # type: ignore[union-attr]
            assert as_user(33333, 778, state) == "not readable", "of others both are closed, and a list goes on"
            url = loaded.card.downloads["more"]
            known = as_user(22222, 777, lambda url=url: benchmark._known_sha256(loaded.card, url, mine))
            assert upstream.sha256 in known, "what the readable build has recorded is compared"
    finally:
        shutil.rmtree(place)
