"""Files of a commit by real git: only the wanted bytes are transferred, and nothing of a foreign repository runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hpc_trex.errors import CredentialsMissing, EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.staging.git import GitSource, _Git, bring_git


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


def test_a_file_name_in_another_encoding_stops_nothing_and_one_that_points_outside_is_refused(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (repo.folder / "data" / os.fsdecode(b"caf\xe9.txt")).write_text("latin1")
    commit = repo.committed()
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.bareRepository")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "explicit")
    monkeypatch.setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", "/nowhere")  # as in a hook
    folder = tmp_path / "files"
    bring_git(GitSource(f"file://{repo.folder}", commit, ("data/*.csv", "data/caf*")), tmp_path / "r.git", folder)
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["a.csv", "b c.csv", "caf\\xe9.txt"]

    blob = repo.run("rev-parse", f"{commit}:data/a.csv")
    tree = commit
    for entry in (f"100644 blob {blob}\toutside.csv", "040000 tree {}\t..", "040000 tree {}\tdata"):
        made = subprocess.run(["git", "-C", repo.folder, "mktree"], input=entry.format(tree), text=True, check=True,
                              capture_output=True)  # fmt: skip
        tree = made.stdout.strip()
    evil = repo.run("commit-tree", tree, "-m", "evil")
    repo.run("update-ref", "refs/heads/evil", evil)
    with pytest.raises(UsageProblem, match=r"data/../outside.csv.*points outside"):
        bring_git(GitSource(f"file://{repo.folder}", evil, ("data/**",)), tmp_path / "e.git", folder)
    assert not (folder / "outside.csv").exists()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("fatal: unable to access 'https://h/x/': The requested URL returned error: 403", CredentialsMissing),
        ("remote: HTTP 401\nfatal: Authentication failed for 'https://h/x/'", CredentialsMissing),
        ("fatal: unable to access 'https://h/x/': Failed to connect to h port 443 after 401 ms", EnvironmentProblem),
        ("fatal: unable to access 'https://h/task403/': Could not resolve host: h", EnvironmentProblem),
        ("fatal: repository 'https://h/x/' not found", NotFound),
    ],
)
def test_what_git_says_is_no_refusal_for_the_figures_in_it(tmp_path: Path, said: str, kind: type[Exception]):
    problem = _Git(GitSource("https://h/x", "a" * 40, ()), tmp_path)._problem(said)
    assert type(problem) is kind
