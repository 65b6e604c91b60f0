"""A key in the user's environment is found in no file of a search, in no job's environment, and in nothing that is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w

from hpc_trex.models import Profile
from tests.noop import noop_profile, noop_search
from tests.program import trex

pytestmark = pytest.mark.cluster

PLANTED = {
    "OPENAI_API_KEY": "sk-planted-1f0c",
    "HF_TOKEN": "hf_planted_2e1d",
    "MY_SECRET": "planted-3d2e",
    "https_proxy": "http://me:planted-4c3f@127.0.0.1:9",
}
KEPT = "plain-5b40"


def profile_file(path: Path, profile: Profile) -> Path:
    path.write_text(tomli_w.dumps(profile.model_dump(mode="json", exclude_none=True)))
    return path


def leaks(text: str) -> list[str]:
    return [value for value in ("sk-planted", "hf_planted", "planted-3d2e", "planted-4c3f") if value in text]


def test_a_planted_key_is_found_nowhere(testcluster, tmp_path, home, monkeypatch):
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MY_SETTING", KEPT)
    profile = noop_profile(poll_seconds=0.3, setup=("set -x", "env > environment.txt"))
    file = profile_file(tmp_path / "noop.toml", profile)
    printed = trex("launch", "--profile", file, "--dry-run")
    assert "#SBATCH" in printed.stdout
    assert leaks(printed.stdout + printed.stderr) == []
    paths = noop_search(home, profile, name="told", max_nodes=1)
    said = [trex("resume", paths.root), trex("status", paths.root, "--json"), trex("show", 1, paths.root, "--json")]
    assert [leaks(one.stdout + one.stderr) for one in said] == [[], [], []]
    files = [path for path in paths.root.rglob("*") if path.is_file()]
    found = {str(path.relative_to(paths.root)): leaks(path.read_bytes().decode(errors="replace")) for path in files}
    assert {name: what for name, what in found.items() if what} == {}
    environments = [path.read_text() for path in files if path.name == "environment.txt"]
    assert len(environments) >= 4
    assert all(KEPT in text for text in environments), "the environment is passed on, or the test shows nothing"
