"""Files of a git repository at one commit, by the site's own ``git``: whatever mirror or proxy it is set up for is used.

Nothing is checked out: filters, hooks and attributes of a repository do not run, and symbolic links are left alone. Git
itself checks that what came is the commit that was asked for, since its name is the digest of all of it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hpc_trex.errors import CredentialsMissing, EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.ftbench.build import matches

#: Seconds for one command; one that moves slower than 1 kB a second for a minute is ended by git itself.
PATIENCE = 3600.0
_PLAIN = ("100644", "100755")
_SETTINGS = (
    "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "credential.interactive=false",
    "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60",
)  # fmt: skip
_POINTER = b"version https://git-lfs.github.com/spec/"
_DENIED = re.compile(r"(returned error|HTTP|status)\W{1,2}(401|403)\b")
_REFUSED = ("not found", "could not read Username", "terminal prompts disabled", "Authentication failed")
_NO_COMMIT = ("not our ref", "couldn't find remote ref", "no such remote ref", "bad object", "unadvertised object")


class GitSource(NamedTuple):
    """A commit of a repository, and which of its files are wanted."""

    url: str
    commit: str
    globs: tuple[str, ...]

    @property
    def words(self) -> str:
        """Name it for a person."""
        return f"{self.url} at {self.commit[:12]}"


def bring_git(source: GitSource, repository: Path, folder: Path) -> None:
    """Fetch the commit into the bare ``repository`` and write its wanted files below ``folder``.

    A commit that an earlier run has fetched whole is not fetched again. Raises NotFound (no such repository or commit),
    EnvironmentProblem (no git, no network, disk full), UsageProblem (no such file in it).
    """
    _Git(source, repository).write(folder)


def ask_git(source: GitSource, repository: Path) -> None:
    """Raise as :func:`bring_git` does where the commit cannot be had any more; none of its files is fetched."""
    _Git(source, repository).fetch()


class _Git:
    def __init__(self, source: GitSource, repository: Path) -> None:
        self._source, self._repository = source, repository

    def fetch(self) -> None:
        """Bring commit and folders, and with a server that knows no partial clones the files as well."""
        if not (self._repository / "HEAD").is_file():
            self._repository.mkdir(parents=True, exist_ok=True)
            self._run("init", "-q", "--bare")
        self._run("config", "remote.origin.url", self._source.url)
        self._run("fetch", "-q", "--depth", "1", "--no-tags", "--filter=blob:none", "origin", self._source.commit)

    def write(self, folder: Path) -> None:
        self.fetch()
        wanted = self._wanted()
        absent = self._absent() & set(wanted.values())
        if absent:
            blobs = "".join(f"{blob}\n" for blob in sorted(absent)).encode()
            self._run("fetch", "-q", "--no-tags", "--no-write-fetch-head", "--stdin", "origin", given=blobs)
        for (name, _), raw in zip(wanted.items(), self._contents(list(wanted.values())), strict=True):
            if raw.startswith(_POINTER):
                raise UsageProblem(
                    f"{self._source.words}: {name} is kept in Git LFS, which is not followed",
                    hint='give its address as a download of kind = "file"',
                )
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)

    def _wanted(self) -> dict[str, str]:
        """Return the wanted files' blobs by their paths. Each glob has to find something."""
        listed: dict[str, str] = {}
        entries = self._run("ls-tree", "-r", "-z", "--full-tree", self._source.commit)
        for entry in entries.decode(errors="backslashreplace").split("\0"):  # names may be in any encoding
            mode, _, rest = entry.partition(" ")
            if mode in _PLAIN:
                about, _, name = rest.partition("\t")
                listed[name] = about.split(" ")[-1]
        wanted: dict[str, str] = {}
        for pattern in self._source.globs or ("**",):
            found = {name: blob for name, blob in listed.items() if matches(name, pattern)}
            if not found:
                raise UsageProblem(
                    f"{self._source.words}: no file is {pattern!r}", hint=f"its files: {', '.join(list(listed)[:8])}"
                )
            wanted |= found
        outside = [name for name in wanted if {"..", ".", ""} & set(name.split("/"))]
        if outside:  # git itself would make no such commit, and fetches one
            raise UsageProblem(
                f"{self._source.words} has a file {outside[0]!r:.80}, which points outside", hint="do not trust it"
            )
        return wanted

    def _absent(self) -> set[str]:
        """Return the objects of the commit that are not here, without fetching them."""
        lines = self._run("rev-list", "--objects", "--missing=print", f"{self._source.commit}^{{tree}}")
        return {line[1:].decode() for line in lines.split(b"\n") if line.startswith(b"?")}

    def _contents(self, blobs: Sequence[str]) -> Iterator[bytes]:
        """Yield the bytes of the blobs, as they stand in the repository."""
        with subprocess.Popen(
            ["git", *_SETTINGS, f"--git-dir={self._repository}", "cat-file", "--batch"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(),
        ) as reader:  # fmt: skip
            assert reader.stdin is not None
            assert reader.stdout is not None
            for blob in blobs:
                reader.stdin.write(f"{blob}\n".encode())
                reader.stdin.flush()
                size = reader.stdout.readline().split()[-1:]
                if not size or not size[0].isdigit():
                    raise EnvironmentProblem(f"{self._source.words}: the file {blob} did not come", hint=_AGAIN)
                yield reader.stdout.read(int(size[0]))
                reader.stdout.read(1)

    def _run(self, *words: str, given: bytes = b"") -> bytes:
        try:
            done = subprocess.run(
                ["git", *_SETTINGS, f"--git-dir={self._repository}", *words],
                input=given, capture_output=True, env=_environment(), timeout=PATIENCE, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise EnvironmentProblem(
                "git is not installed here", hint="load it (module load git), or fetch on another machine"
            ) from None
        except subprocess.TimeoutExpired:
            raise EnvironmentProblem(
                f"{self._source.words}: nothing for {PATIENCE / 60:.0f} minutes", hint=_AGAIN
            ) from None
        if done.returncode:
            raise self._problem(done.stderr.decode(errors="replace"))
        return done.stdout

    def _problem(self, said: str) -> Exception:
        """Return the user's error for what git has said."""
        lines = [line for line in said.splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
        first = next(iter(lines or said.splitlines()), "git said nothing")[:200]
        first = first.removeprefix("fatal: ").removeprefix("error: ")
        if any(words in said for words in _NO_COMMIT):
            return NotFound(
                f"{self._source.url} has no commit {self._source.commit}",
                hint="upstream may have rewritten its history",
            )
        if _DENIED.search(said):
            return CredentialsMissing(
                f"{self._source.words}: access refused: {first}",
                hint="give git access (its credential helper), or set up a mirror",
            )
        if any(words in said for words in _REFUSED):
            return NotFound(
                f"{self._source.url} does not exist, or is private", hint="look at the address in a browser"
            )
        if "No space left" in said or "quota exceeded" in said.lower():
            return EnvironmentProblem(f"cannot write {self._repository}: {first}", hint="make room, or --into FOLDER")
        return EnvironmentProblem(f"cannot fetch {self._source.words}: {first}", hint=_AGAIN)


_AGAIN = "run this where there is network; type the same line again to go on"


def _environment() -> dict[str, str]:
    """Return what git is run with: it never asks, speaks English, and works on no repository but ours."""
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    return kept | {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS": "true", "LC_ALL": "C"}


#: What git sets for its hooks and aliases: this may run in one.
_FOREIGN = (
    "GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH",
)  # fmt: skip
