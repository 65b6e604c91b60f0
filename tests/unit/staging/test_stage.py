"""``hpc-trex stage`` against a real HTTP server on loopback: pins, quota, broken transfers, refusals, two users."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpc_trex.layout import StagedPaths
from hpc_trex.models import StagedItem
from hpc_trex.staging.fetch import git_sha1
from tests.unit.staging.hub import FIRST, SECOND, Hub, Repository, git_id

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
MODEL = {
    "config.json": b'{"model_type": "qwen3"}',
    "model.safetensors": bytes(range(256)) * 4000,
    "tokenizer.json": b'{"version": "1.0"}',
    "modeling_evil.py": b"raise SystemExit('code must never be fetched')",
}
ROWS = {
    split: b"".join(json.dumps({"prompt": f"{split} {n}", "answer": str(n)}).encode() + b"\n" for n in range(30))
    for split in ("train", "dev", "test")
}
CARD = f"""
name = "hub-task"
licence = "CC0-1.0"
dev = {{ hub = "owner/rows", revision = "{FIRST}", split = "dev" }}
test = {{ hub = "owner/rows", revision = "{FIRST}", split = "test" }}

[sources.train]
hub = "owner/rows"
revision = "{FIRST}"
split = "train"
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    server = Hub()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def fresh(hub: Hub) -> None:
    hub.repositories = {
        "models/owner/model": Repository(dict(MODEL), large=("model.safetensors",)),
        "models/owner/gated": Repository(dict(MODEL), gated=True),
        "datasets/owner/rows": Repository(
            {f"{split}.jsonl": rows for split, rows in ROWS.items()} | {"load.py": b"raise SystemExit"},
            licence="cc0-1.0",
        ),
    }  # fmt: skip
    hub.asked, hub.cut, hub.damage = [], {}, set()


class User:
    """A person with a home of their own, at a site whose hub is ours."""

    def __init__(self, hub: Hub, home: Path, uid: int | None = None, **variables: str) -> None:
        home.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HPC_TREX_", "HF_", "SLURM"))}
        own = {"HOME": str(home), "HF_HOME": str(home / "hf"), "HPC_TREX_CACHE": str(home / "cache"),
               "HPC_TREX_HOME": str(home / "searches"), "HF_ENDPOINT": hub.endpoint, "PYTHONPATH": str(ROOT),
               "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1", "TMPDIR": str(home)}  # fmt: skip
        self.home, self.uid, self.environment = home, uid, kept | own | variables
        if uid is not None:
            os.chown(home, uid, uid)

    def runs(self, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command as this person. The interpreter may stand in root's home: reading is free, writing is not."""
        prefix = [] if self.uid is None else [
            "setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups",
            "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
        ]  # fmt: skip
        return subprocess.run(
            [*prefix, *map(str, words)], cwd=self.home, env=self.environment | variables, umask=0o077,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def types(self, *words: object, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        done = self.runs(sys.executable, "-m", "hpc_trex", *words, **variables)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def stages(self, *words: object, code: int = 0, **variables: str) -> dict:
        done = self.types("stage", *words, "--json", code=code, **variables)
        return json.loads(done.stdout if code == 0 else done.stdout or "{}")


@pytest.fixture
def user(hub: Hub, tmp_path: Path) -> User:
    return User(hub, tmp_path / "home")


def staged(folder: Path, commit: str = FIRST) -> StagedPaths:
    return StagedPaths(folder, "models", "owner/model", commit)


def test_a_model_is_pinned_checked_made_read_only_and_fetched_once(hub: Hub, user: User, tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    assert user.stages("--model", "owner/model", "--into", folder, "-n")["items"][0]["state"] == "would fetch"
    assert not folder.exists(), "a dry run makes nothing"

    (item,) = user.stages("--model", "owner/model", "--into", folder)["items"]
    assert (item["state"], item["commit"], item["licence"]) == ("staged", FIRST, "apache-2.0")
    paths = staged(folder)
    manifest = StagedItem.model_validate_json(paths.manifest.read_bytes())
    assert {file.name: file.size for file in manifest.files} == {
        name: len(raw) for name, raw in MODEL.items() if not name.endswith(".py")
    }
    assert [path.name for path in sorted(paths.folder.iterdir())] == [file.name for file in manifest.files]
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o222 == 0 for path in (paths.folder, *paths.folder.iterdir()))
    assert manifest.asked == ("main",)
    assert manifest.program
    assert not list(folder.rglob("*.partial"))
    assert not list(folder.rglob("*.claim"))

    hub.asked.clear()
    assert user.stages("--model", "owner/model", "--into", folder)["items"][0]["state"] == "already"
    assert hub.downloads() == []
    hub.asked.clear()
    assert user.stages("--model", f"owner/model@{FIRST}", "--into", folder)["items"][0]["state"] == "already"
    assert hub.asked == [], "a commit that is here needs no network"
    no_hub = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    (item,) = user.stages("--model", "owner/model", "--into", folder, **no_hub)["items"]
    assert (item["state"], item["commit"]) == ("already", FIRST)
    assert "not known" in item["note"]

    hub.repositories["models/owner/model"].refs["main"] = SECOND
    hub.repositories["models/owner/model"].files["config.json"] = b'{"model_type": "qwen4"}'
    (item,) = user.stages("--model", "owner/model", "--into", folder)["items"]
    assert (item["state"], item["commit"]) == ("staged", SECOND), "main has moved: another item, the old one stays"
    listed = user.stages("list", "--into", folder)["items"]
    assert [one["commit"] for one in listed] == [SECOND, FIRST]


def test_what_git_and_we_call_the_digest_of_a_small_file_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    assert git_sha1(path) == git_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_transfer_that_breaks_off_goes_on_where_it_was(hub: Hub, user: User, tmp_path: Path) -> None:
    """The client hands over 10 MiB at a time: of 25 MiB, cut off at 22, two pieces are on disk."""
    folder = tmp_path / "stage"
    weights = MODEL["model.safetensors"] * 26
    hub.repositories["models/owner/model"].files["model.safetensors"] = weights
    hub.cut["model.safetensors"] = 22 << 20
    done = user.types("stage", "--model", "owner/model", "--into", folder, code=8)
    assert "owner/model" in done.stderr
    assert "Traceback" not in done.stderr
    assert not staged(folder).manifest.exists()
    assert not staged(folder).folder.exists()
    assert not staged(folder).claim.exists()
    hub.cut, hub.asked = {}, []
    assert user.stages("--model", "owner/model", "--into", folder)["items"][0]["state"] == "staged"
    ranges = [asked for _, path, asked in hub.asked if path.endswith("model.safetensors") and asked]
    assert ranges == [f"bytes={20 << 20}-"], "the rest was asked for, not all of it again"
    assert (staged(folder).folder / "model.safetensors").read_bytes() == weights


def test_bytes_that_were_spoilt_on_the_way_are_not_accepted(hub: Hub, user: User, tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    hub.damage = {"model.safetensors"}
    done = user.types("stage", "--model", "owner/model", "--into", folder, code=8)
    assert "model.safetensors" in done.stderr
    assert not staged(folder).manifest.exists()
    hub.damage, hub.asked = set(), []
    user.stages("--model", "owner/model", "--into", folder)
    assert hub.downloads() == ["model.safetensors"], "what was whole is not fetched again"


def test_each_refusal_has_its_exit_code_and_one_clear_line(user: User, tmp_path: Path) -> None:
    for words, code, said in (
        (("--model", "owner/gated"), 4, "gated"),
        (("--model", "owner/model@v9"), 3, "no revision v9"),
        (("--model", "owner/nothing"), 3, "owner/nothing"),
        (("--dataset", "owner/model"), 3, "no data set owner/model"),
        (("--model", "no id at all!"), 2, "hub id"),
        ((), 2, "nothing to stage"),
    ):
        done = user.types("stage", *words, *(("--into", tmp_path / "stage") if words else ()), code=code)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    done = user.types("stage", "--model", "owner/model", code=8, HF_ENDPOINT="http://127.0.0.1:9")
    assert "127.0.0.1:9" in done.stderr
    assert "copy the stage folder" in done.stderr
    assert not list(tmp_path.rglob("*.claim"))


def test_what_does_not_fit_is_refused_with_the_numbers_before_anything_is_fetched(
    hub: Hub, user: User, tmp_path: Path
) -> None:
    """The free space is the real disk's; the quota is a stand-in's, in the words of quota(1) and lfs-quota(1)."""
    folder = tmp_path / "stage"
    hub.repositories["models/owner/model"].claims["model.safetensors"] = 10**17
    done = user.types("stage", "--model", "owner/model", "--into", folder, code=8)
    assert "100000.0 TB" in done.stderr
    assert "are free" in done.stderr
    hub.repositories["models/owner/model"].claims.clear()

    tools = tmp_path / "tools"
    tools.mkdir()
    mount = subprocess.run(["stat", "-c", "%m", tmp_path], capture_output=True, text=True, check=True).stdout.strip()
    quota = tools / "quota"
    for answer, said in (
        ((f"Disk quotas for user me (uid 7):\n  Filesystem blocks quota limit grace files quota limit grace\n"
         f"  {mount} 1000* 900 1200 99 10 0 0 0\n"), "204.8 kB are free (quota)"),
        (f"  {mount} 10 0 0 0 995 900 1000 99\n", "7 files, and 5 may still be made (quota)"),
    ):  # fmt: skip
        quota.write_text(f"#!/bin/sh\ncat <<'E'\n{answer}E\nexit 1\n")
        quota.chmod(0o755)
        path = f"{tools}:{os.environ['PATH']}"
        done = user.types("stage", "--model", "owner/model", "--into", folder, code=8, PATH=path)
        assert said in done.stderr
    quota.unlink()
    lfs = tools / "lfs"
    lfs.write_text(f"#!/bin/sh\n[ \"$4\" != -g ] || exit 0\nprintf '%s\\n' '{mount}' '   100 0 150 - 10 0 0 -'\n")
    lfs.chmod(0o755)
    done = user.types("stage", "--model", "owner/model", "--into", folder, code=8, PATH=path)
    assert "51.2 kB are free (lfs quota of root)" in done.stderr
    assert hub.downloads() == []
    assert not folder.exists()


def test_verify_names_damaged_files_and_the_hint_mends_them(hub: Hub, user: User, tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    user.stages("--model", "owner/model", "--tokenizer", "owner/model", "--into", folder)
    assert "whole" in user.types("stage", "--verify", "--into", folder).stdout
    victim = staged(folder).folder / "model.safetensors"
    victim.chmod(0o644)
    with victim.open("r+b") as handle:
        handle.write(b"!")
    (staged(folder).folder / "config.json").unlink()
    done = user.types("stage", "--verify", "--into", folder, code=1)
    assert f"{victim}: its content has changed" in done.stderr
    assert "config.json: No such file" in done.stderr
    assert "tokenizers" in done.stdout
    hint = next(line for line in done.stderr.splitlines() if line.startswith("hint:"))
    command = hint.split("damaged: ")[1].replace("hpc-trex", f"{sys.executable} -m hpc_trex")
    hub.asked.clear()
    subprocess.run(["bash", "-c", command], env=user.environment, cwd=user.home, check=True, capture_output=True)
    assert sorted(hub.downloads()) == ["config.json", "model.safetensors"]
    user.types("stage", "--verify", "--into", folder)
    assert victim.read_bytes() == MODEL["model.safetensors"]


def test_a_dead_run_leaves_no_lock_that_blocks_and_a_living_one_is_not_disturbed(user: User, tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    paths = staged(folder)
    paths.parent.mkdir(parents=True)
    host = os.uname().nodename
    paths.claim.write_text(json.dumps({"host": host, "pid": os.getpid()}))
    done = user.types("stage", "--model", "owner/model", "--into", folder, code=8)
    assert f"process {os.getpid()} on {host}" in done.stderr
    child = subprocess.Popen(["true"])
    child.wait()
    paths.claim.write_text(json.dumps({"host": host, "pid": child.pid}))
    assert user.stages("--model", "owner/model", "--into", folder)["items"][0]["state"] == "staged"


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="trex-shared-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_second_user_launches_from_a_shared_read_only_cache_without_network(
    hub: Hub, user: User, shared: Path
) -> None:
    """The second is another uid that may not write a byte there; the hub is off, and so is the first user's home."""
    folder = shared / "stage"
    folder.mkdir()
    folder.chmod(0o755)
    card = shared / "hub-task.toml"
    card.write_text(CARD)
    user.stages("--task", card, "--model", "owner/model", "--into", folder)
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    hub.asked.clear()

    profile = shared / "island.toml"
    profile.write_text('scheduler = "local"\nnetwork = "none"\nparallel = 1\n')
    other = User(hub, shared / "other", uid=12345, HF_ENDPOINT="http://127.0.0.1:9")
    launch = ("launch", "--task", card, "--model", "owner/model", "--profile", profile, "--name", "s")
    done = other.types(*launch, "-n", code=8)
    line = f"hpc-trex stage --task {card} --model owner/model --into FOLDER"
    assert line in done.stderr, "what is missing, and what to type where there is network"
    assert "data set owner/rows" in done.stderr

    other.environment["HPC_TREX_STAGE"] = str(folder)
    make = "import sys; from hpc_trex.launch import *; plan = plan_launch(LaunchOptions(**eval(sys.argv[1])));"
    make += "paths = create_search(plan); print(plan.model.path, len(paths.dev.read_text().splitlines()))"
    options = {"task": str(card), "model": "owner/model", "profile": str(profile), "name": "s"}
    made = other.runs(sys.executable, "-c", make, repr(options))
    assert made.returncode == 0, made.stderr
    assert made.stdout.split() == [str(staged(folder).folder), "30"]
    for path in staged(folder).folder.iterdir():
        read = subprocess.run(["cat", path], user=12345, group=12345, extra_groups=[], capture_output=True, check=True)
        assert read.stdout == MODEL[path.name], "and without any right of root's"
    assert other.types("stage", "--verify").stdout.count("whole") == 2
    refused = other.types("stage", "--model", "owner/model@v9", code=8)
    assert "Traceback" not in refused.stderr
    assert hub.asked == []
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))} == before, "not a byte was written"


def test_what_others_may_read_is_decided_by_the_folder_and_by_nothing_else(user: User, tmp_path: Path) -> None:
    for name, profile, mode in (("own", None, 0o400), ("group", "share.toml", 0o440), ("all", None, 0o444)):
        folder = tmp_path / name
        if name == "all":
            folder.mkdir()
            folder.chmod(0o755)
        words: tuple[object, ...] = ()
        if profile:
            (tmp_path / profile).write_text('share = "group"\n')
            words = ("--profile", tmp_path / profile)
        user.stages("--model", "owner/model", "--into", folder, *words)
        file = staged(folder).folder / "config.json"
        assert stat.S_IMODE(file.stat().st_mode) == mode
        assert stat.S_IMODE(staged(folder).manifest.stat().st_mode) == mode
        assert stat.S_IMODE(file.parent.stat().st_mode) == mode | (mode >> 2 & 0o111)
