"""Files of a commit by real git: only the wanted bytes are transferred, and nothing of a foreign repository runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hpc_trex.errors import UsageProblem
from hpc_trex.staging.git import GitSource, bring_git


class Repo:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run("init", "-q", folder)

    def run(self, *words: object) -> str:
        who = (
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-C",
            self.folder.parent if words[0] == "init" else self.folder,
        )
        command = ["git", *map(str, who), *map(str, words)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def committed(self) -> str:
        self.run("add", "-A")
        self.run("commit", "-q", "-m", "x")
        return self.run("rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "upstream")
    for name, raw in (("data/a.csv", b"x\r\n1\n"), ("data/b c.csv", "x\n北京\n".encode()), ("data/deep/c.csv", b"x\n3\n"),
                      ("models/weights.bin", os.urandom(3_000_000)), (".gitattributes", b"*.csv text eol=crlf filter=evil\n")):  # fmt: skip
        (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (made.folder / name).write_bytes(raw)
    (made.folder / "data" / "link.csv").symlink_to("/etc/passwd")
    made.run("config", "core.autocrlf", "false")
    made.run("config", "filter.evil.clean", "cat")
    return made


@pytest.mark.parametrize("partial", [True, False], ids=["a server of partial clones", "another server"])
def test_the_wanted_files_come_byte_by_byte_and_nothing_else(repo: Repo, tmp_path: Path, partial: bool):
    repo.run("config", "uploadpack.allowFilter", str(partial).lower())
    commit = repo.committed()
    stored = {name: subprocess.run(["git", "-C", repo.folder, "show", f"{commit}:{name}"], check=True, capture_output=True).stdout
              for name in ("data/a.csv", "data/b c.csv")}  # fmt: skip
    bare, folder = tmp_path / "repository.git", tmp_path / "files"
    source = GitSource(f"file://{repo.folder}", commit, ("data/*.csv",))
    bring_git(source, bare, folder)
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.csv")} == stored
    size = sum(path.stat().st_size for path in bare.rglob("*") if path.is_file())
    assert (size < 500_000) == partial, "the weights stay where they are, if the server can leave them out"
    bring_git(source, bare, tmp_path / "again")
    assert len(list((tmp_path / "again").rglob("*.csv"))) == 2


def test_a_pointer_of_git_lfs_is_no_data(repo: Repo, tmp_path: Path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    (repo.folder / "data" / "large.csv").write_text(pointer)
    source = GitSource(f"file://{repo.folder}", repo.committed(), ("data/large.csv",))
    with pytest.raises(UsageProblem, match="Git LFS"):
        bring_git(source, tmp_path / "repository.git", tmp_path / "files")
