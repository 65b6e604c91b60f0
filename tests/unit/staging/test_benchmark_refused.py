"""``hpc-trex ftbench fetch`` where something is wrong: one clear line each, and nothing half-installed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from hpc_trex import faults
from hpc_trex.ftbench.built import at_hand, find_built
from hpc_trex.ftbench.cards import load_card
from hpc_trex.staging.benchmark import fetch_task
from hpc_trex.staging.benchmark_check import damage
from tests.unit.staging.hub import FIRST, Repository
from tests.unit.staging.upstream import UPSTREAM, Upstream, nothing_in_place

Trex = Callable[..., Result]


def test_a_transfer_that_broke_off_goes_on_and_a_changed_file_is_refused(
    upstream: Upstream, trex: Trex, tmp_path: Path
):
    raw = b'{"dialogue": "large %s", "note": "n"}\n' % (b"x" * 80_000) * 250
    upstream.web.files["/rows.jsonl"] = raw
    line = f'downloads.more = {{ kind = "file", url = "{upstream.web.address}/rows.jsonl", sha256 = "%s" }}'
    card = upstream.card(**{"downloads.more": line % hashlib.sha256(raw).hexdigest(),
                            "sources.more": 'sources.more = { table = "more", rows = 5 }'})  # fmt: skip
    upstream.web.cut["/rows.jsonl"] = 18_000_000
    assert "rows.jsonl" in trex("ftbench", "fetch", card, code=8).stderr
    nothing_in_place(tmp_path / "stage")
    upstream.web.cut.clear()
    upstream.web.asked.clear()
    trex("ftbench", "fetch", card)
    (asked,) = [one for method, path, one in upstream.web.asked if method == "GET" and path == "/rows.jsonl"]
    assert int(asked.removeprefix("bytes=").rstrip("-")) >= 10 << 20, "only the rest is asked for"
    shutil.rmtree(tmp_path / "stage")

    upstream.web.files["/rows.jsonl"] = raw.replace(b"large", b"small")
    refused = trex("ftbench", "fetch", card, code=8).stderr
    assert "is not what it was: its SHA-256 is" in refused
    assert "the card has" in refused
    nothing_in_place(tmp_path / "stage")
    assert not list((tmp_path / "stage").rglob("rows.jsonl*")), "and what was refused is not gone on with"


def test_a_checksum_that_no_card_names_is_recorded_and_compared_ever_after(upstream: Upstream, trex: Trex):
    line = f'downloads.more = {{ kind = "file", url = "{upstream.web.address}/release/more.zip" }}'
    card = upstream.card(
        **{"downloads.more": line, "tables.more": 'tables.more = { from = "more", path = "set/*.jsonl" }'}
    )
    assert f"names no SHA-256; {upstream.sha256} is recorded" in trex("ftbench", "fetch", card).stdout
    upstream.web.files["/release/more.zip"] += b"!"
    again = upstream.card(
        **{"downloads.more": line, "tables.more": 'tables.more = { from = "more", path = "**/*.jsonl" }'}
    )
    refused = trex("ftbench", "fetch", again, code=8).stderr
    assert "the fetch of 20" in refused
    assert upstream.sha256 in refused


def test_every_refusal_is_one_line_with_its_code_and_leaves_nothing_in_place(
    upstream: Upstream, trex: Trex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    repo, dev, more = (upstream.line(f"downloads.{name}") for name in ("repo", "dev", "more"))
    upstream.hub.repositories["datasets/lab/gated"] = Repository({"dev.jsonl": b"{}\n"}, gated=True)
    broken, outside = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=outside, mode="w") as tape:
        tape.addfile(tarfile.TarInfo("../../outside.jsonl"))
    upstream.web.files |= {"/broken.zip": broken.getvalue(), "/outside.tar": outside.getvalue(), "/door": b""}
    upstream.web.refused["/door"] = 403
    file = 'downloads.more = {{ kind = "file", url = "{}" }}'.format
    web = upstream.web.address
    cases: list[tuple[dict[str, str], int, str]] = [
        ({"downloads.repo": repo.replace(upstream.commit, "1" * 40)}, 3, f"{UPSTREAM} has no commit 1111"),
        ({"downloads.repo": repo.replace(UPSTREAM, f"{web}/nobody")}, 3, "does not exist, or is private"),
        ({"downloads.repo": repo.replace(UPSTREAM, "http://127.0.0.1:9/x")}, 8, "cannot fetch http://127.0.0.1:9/x"),
        ({"downloads.repo": repo.replace("data/*.csv", "data/*.tsv")}, 2, "no file is 'data/*.tsv'"),
        ({"downloads.dev": dev.replace(FIRST[:8], "0" * 8)}, 3, "no commit 00000000"),
        ({"downloads.dev": dev.replace(FIRST[:8], "0" * 40)}, 3, "no revision"),
        ({"downloads.dev": dev.replace("visits-dev", "nothing")}, 3, "lab/nothing"),
        ({"downloads.dev": dev.replace("visits-dev", "gated").replace("MIT\"", 'MIT", gated = "Ask at example.org."')},
         4, "Ask at example.org."),
        ({"downloads.dev": dev.replace("MIT\"", 'MIT", consent = "I will not share it."')}, 2, "I will not share it."),
        ({"downloads.more": file(f"{web}/nothing.zip")}, 3, "is gone (status 404)"),
        ({"downloads.more": file(f"{web}/door")}, 4, "access refused (status 403)"),
        ({"downloads.more": file("http://127.0.0.1:9/x.zip")}, 8, "cannot fetch http://127.0.0.1:9/x.zip"),
        ({"downloads.more": file(f"{web}/broken.zip")}, 2, "cannot be unpacked"),
        ({"downloads.more": file(f"{web}/outside.tar")}, 2, "points outside"),
        ({"downloads.more": more.replace("set/*.jsonl", "set/*.csv")}, 2, "no member is 'set/*.csv'"),
        ({"prompt": 'prompt = { prompt = "{{ dialog }}", answer = "{{ note }}" }'}, 2, "'dialog' is undefined"),
        ({"tables.dev": 'tables.dev = { of = "train", rows = 30 }'}, 2, "30 rows cannot be taken out of train"),
        ({"tables.more": 'tables.more = { form = "more" }'}, 2, "unknown key (did you mean 'from'?"),
    ]  # fmt: skip
    for changed, code, said in cases:
        done = trex("ftbench", "fetch", upstream.card(**changed), code=code)
        assert said in done.stderr, changed
        assert done.stderr.count("error:") == 1
        nothing_in_place(tmp_path / "stage")
        shutil.rmtree(tmp_path / "stage", ignore_errors=True)
    assert not (tmp_path / "outside.jsonl").exists()
    monkeypatch.setenv("PATH", "/nowhere")
    assert "git is not installed" in trex("ftbench", "fetch", upstream.card(), code=8).stderr


def test_a_run_at_work_is_not_disturbed_and_a_killed_one_is_gone_on_with(
    upstream: Upstream, trex: Trex, tmp_path: Path
):
    card = upstream.card()
    built = trex("ftbench", "fetch", card, "-n", "--json")
    folder = Path(json.loads(built.stdout)["tasks"][0]["folder"])
    folder.parent.mkdir(parents=True)
    claim = folder.with_name(f"{folder.name}.claim")
    claim.write_text(json.dumps({"host": os.uname().nodename, "pid": os.getppid()}))
    assert f"process {os.getppid()} on" in trex("ftbench", "fetch", card, code=8).stderr
    dead = subprocess.Popen(["true"])
    dead.wait()
    claim.write_text(json.dumps({"host": os.uname().nodename, "pid": dead.pid}))
    left = folder.with_name(f"{folder.name}.partial")
    (left / ".new" / "sealed").mkdir(parents=True)
    (left / ".new" / "sealed" / "old.jsonl").write_text("{}\n")
    trex("ftbench", "fetch", card)
    assert sorted(path.name for path in (folder / "sealed").iterdir()) == ["test.jsonl"]


def test_on_a_full_disk_nothing_is_in_place_and_the_same_line_goes_on(upstream: Upstream, trex: Trex, tmp_path: Path):
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], check=True)
    try:
        filler = folder / "filler"
        filler.write_bytes(b"x" * 330_000)
        done = trex("ftbench", "fetch", upstream.card(), "--into", folder / "stage", code=8)
        assert done.stderr.count("error:") == 1
        assert "No space left" in done.stderr
        nothing_in_place(folder / "stage")
        filler.unlink()
        trex("ftbench", "fetch", upstream.card(), "--into", folder / "stage")
        assert len(list(folder.glob("stage/ftbench/visits/*/manifest.json"))) == 1
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        assert "already here" in trex("ftbench", "fetch", upstream.card(), "--into", folder / "stage").stdout
        other = upstream.card(name='name = "other"')
        done = trex("ftbench", "fetch", other, "--into", folder / "stage", code=8).stderr
        assert "Read-only file system\nhint: choose a folder of yours: --into" in done
    finally:
        subprocess.run(["umount", folder], check=True)


def as_user(uid: int, gid: int, function: Callable[[], object]) -> str:
    """Return what a function gives or raises in a process of another user, without any right of root's."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            text = str(function())
        except BaseException as error:  # noqa: BLE001 - the parent compares what it was
            text = f"{type(error).__name__}: {error}"
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        return pipe.read()


def test_a_shared_cache_is_for_its_group_and_others_are_told_whose_it_is(upstream: Upstream, trex: Trex):
    shared = Path(tempfile.mkdtemp(prefix="trex-shared-", dir="/tmp"))
    try:
        shared.chmod(0o755)
        (upstream.folder / "share.toml").write_text('share = "group"\n')
        path = upstream.card()
        loaded = load_card(str(path))
        card = loaded.card
        for name, words, group in (("own", (), 0o700), ("group", ("--profile", upstream.folder / "share.toml"), 0o750)):
            stage = shared / name
            trex("ftbench", "fetch", path, "--into", stage, *words)
            built = find_built(card, [stage])
            assert built is not None
            assert stat.S_IMODE((built.folder / "sealed").stat().st_mode) == group
            for one in (stage, *stage.rglob("*")):
                os.chown(one, 12345, 777, follow_symlinks=False)

            def rows_at(stage: Path = stage) -> int:
                found = find_built(card, [stage])
                return sum(1 for _ in Path(str(at_hand(loaded, found).test.path)).open()) if found else 0

            assert as_user(12345, 777, rows_at) == "10"
            assert as_user(22222, 777, rows_at) == ("10" if group == 0o750 else
                f"EnvironmentProblem: {built.folder.parent} cannot be read: it belongs to somebody else")  # fmt: skip
            assert "cannot be read: it belongs to" in as_user(22222, 888, rows_at)
        (built.folder / "sealed").chmod(0o700)
        assert "sealed/test.jsonl cannot be read: it belongs to" in as_user(22222, 777, rows_at)
    finally:
        shutil.rmtree(shared)


def test_whoever_is_not_root_fetches_too_and_is_killed_on_the_way(upstream: Upstream, monkeypatch: pytest.MonkeyPatch):
    """A folder that its owner may not write cannot be moved to another one, which root never sees."""
    home = Path(tempfile.mkdtemp(prefix="trex-home-", dir="/tmp"))
    try:
        os.chown(home, 12345, 12345)
        path = home / "card.toml"
        hub_and_file = {key: upstream.line(key) for key in ("downloads.dev", "downloads.more")}
        shutil.copy(upstream.card(**hub_and_file), path)
        path.chmod(0o644)
        loaded = load_card(str(path))
        # Once as root: the interpreter may stand in root's home, where the other user can import nothing more.
        fetch_task(loaded, upstream.folder / "roots", say=lambda _: None)
        repository = home / "visits.git"
        shutil.copytree(upstream.repository, repository)
        for one in (repository, *repository.rglob("*")):
            os.chown(one, 12345, 12345, follow_symlinks=False)
        monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{repository}.insteadOf")
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(home / "no-token"))
        monkeypatch.setenv("HPC_TREX_STAGE", str(home / "stage"))
        monkeypatch.setenv("HPC_TREX_CACHE", str(home / "cache"))
        ledger = home / "deaths"

        def fetched() -> str:
            faults.arm(str(ledger))
            return fetch_task(loaded, home / "stage", say=lambda _: None).state

        states = [""]
        while not states[-1]:
            states.append(as_user(12345, 12345, fetched))
            found = find_built(loaded.card, [home / "stage"])
            assert found is None or damage(found) == [], "whole, or not there"
        deaths = ledger.read_text().splitlines()
        assert len(states) == len(deaths) + 2 > 6, "one death at each boundary, and the run that got to the end"
        assert deaths[-1].startswith("ftbench/after")
        assert states[-1] == "already"
        (folder,) = home.glob("stage/ftbench/visits/*")
        assert (stat.S_IMODE(folder.stat().st_mode), folder.stat().st_uid) == (0o700, 12345)
    finally:
        shutil.rmtree(home)
