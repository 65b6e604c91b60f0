"""The only place that knows a file name of a search directory (DESIGN section 5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


def home() -> Path:
    """Return the folder that holds the searches: ``HPC_TREX_HOME``, else ``searches/`` of the project folder."""
    own = os.environ.get("HPC_TREX_HOME")
    return Path(own).expanduser().absolute() if own else Path.cwd() / "searches"


def cache() -> Path:
    """Return the user's cache: ``HPC_TREX_CACHE``, else ``$XDG_CACHE_HOME/hpc-trex``, else ``~/.cache/hpc-trex``."""
    own = os.environ.get("HPC_TREX_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "hpc-trex"


def stage_folders() -> list[Path]:
    """Return where staged models and data are looked for: ``HPC_TREX_STAGE`` (several, parted by colons), then
    ``staged/`` of the user's cache. The first is where ``hpc-trex stage`` writes.
    """
    named = [part for part in os.environ.get("HPC_TREX_STAGE", "").split(os.pathsep) if part]
    folders = [Path(part).expanduser().absolute() for part in named] + [cache() / "staged"]
    return list(dict.fromkeys(folders))


def research_answers() -> Path:
    """Return the folder of what services of literature and data answered, by address."""
    return cache() / "research"


def library() -> Path:
    """Return the local library: ``HPC_TREX_LIBRARY`` (a file, also a shared one), else ``library.sqlite`` of the user's cache."""
    own = os.environ.get("HPC_TREX_LIBRARY")
    return Path(own).expanduser().absolute() if own else cache() / "library.sqlite"


#: As ``HPC_TREX_KNOWLEDGE``: no knowledge base is read or written.
NO_KNOWLEDGE = "off"


def knowledge() -> Path | None:
    """Return the knowledge base: ``HPC_TREX_KNOWLEDGE`` (a group's file, or ``off``: None), else the user's own,
    ``$XDG_DATA_HOME/hpc-trex/knowledge.db``, else below ``~/.local/share``. No cache: it cannot be made again once the
    searches are gone.
    """
    own = os.environ.get("HPC_TREX_KNOWLEDGE")
    if own:
        return None if own == NO_KNOWLEDGE else Path(own).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data).absolute() / "hpc-trex" / "knowledge.db"


class StagedPaths(NamedTuple):
    """One staged model, data set or tokenizer at one commit."""

    root: Path
    """The stage folder."""
    kind: str
    repository: str
    commit: str

    @property
    def parent(self) -> Path:
        """All commits of the repository."""
        return self.root / self.kind / self.repository.replace("/", "--")

    @property
    def folder(self) -> Path:
        """The files, read-only."""
        return self.parent / self.commit

    @property
    def manifest(self) -> Path:
        """Written last: where it stands, the folder is whole."""
        return self.parent / f"{self.commit}.json"

    @property
    def partial(self) -> Path:
        """What an interrupted run has fetched so far."""
        return self.parent / f"{self.commit}.partial"

    @property
    def claim(self) -> Path:
        """Made with O_EXCL by the one run that fetches."""
        return self.parent / f"{self.commit}.claim"


def staged_folder(kind: str, repository: str, commit: str) -> Path | None:
    """Return the folder of what was staged at this commit, in whichever stage folder it is; None where in none."""
    for root in stage_folders():
        paths = StagedPaths(root, kind, repository, commit)
        if paths.manifest.is_file() and paths.folder.is_dir():
            return paths.folder
    return None


class AttemptPaths(NamedTuple):
    """The files of one job. The folder is made before the job is submitted."""

    root: Path

    @property
    def spec(self) -> Path:
        return self.root / "spec.json"

    @property
    def started(self) -> Path:
        """Made by the job with O_EXCL as its first act: a job that finds it there already is a double and leaves."""
        return self.root / "started.json"

    @property
    def heartbeat(self) -> Path:
        return self.root / "heartbeat.json"

    @property
    def result(self) -> Path:
        return self.root / "result.json"

    @property
    def questions(self) -> Path:
        """What a preparation wants to know of a language model; it ended with ASKS then."""
        return self.root / "questions.json"

    @property
    def samples(self) -> Path:
        return self.root / "samples.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def model(self) -> Path:
        """The trained model or adapter."""
        return self.root / "model"

    @property
    def script(self) -> Path:
        """The batch script as it was submitted (a copy)."""
        return self.root / "job.sbatch"

    @property
    def cluster(self) -> Path:
        """Name of the Slurm cluster that the job was submitted to."""
        return self.root / "cluster"

    @property
    def stdout(self) -> Path:
        return self.root / "job.out"

    @property
    def stderr(self) -> Path:
        return self.root / "job.err"


def server_address(paths: AttemptPaths) -> Path:
    """Where a server's job writes its address once it answers."""
    return paths.root / "server.json"


class SearchPaths(NamedTuple):
    """The files of one search."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "search.toml"

    @property
    def db(self) -> Path:
        return self.root / "tree.db"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def lease(self) -> Path:
        return self.root / "controller.lease"

    @property
    def snapshot(self) -> Path:
        return self.root / "snapshots" / "current.db"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def log(self) -> Path:
        return self.root / "controller.log"

    @property
    def controller(self) -> Path:
        """Scripts and output of the controller's own jobs (``--as-job``)."""
        return self.root / "controller"

    @property
    def controller_chain(self) -> Path:
        return self.controller / "chain.json"

    @property
    def llm(self) -> Path:
        """The agents' calls to a language model, question and answer, one file each."""
        return self.root / "llm"

    @property
    def server(self) -> Path:
        """The jobs that serve the agents' language model (``--llm-serve``), a folder each by number, and their key."""
        return self.root / "server"

    @property
    def server_key(self) -> Path:
        """The key that their servers ask for: made for this search, mode 0600."""
        return self.server / "key"

    @property
    def server_asked(self) -> Path:
        """Touched by the controller while it needs the server, which ends when that stops."""
        return self.server / "asked"

    def server_job(self, number: int) -> AttemptPaths:
        """The folder of one of these jobs."""
        return AttemptPaths(self.server / str(number))

    @property
    def knowledge(self) -> Path:
        """What the search started from, and which base it goes into; not there: none."""
        return self.root / "knowledge.json"

    @property
    def stop_request(self) -> Path:
        """Written by ``cancel``, ``pause`` and ``retry`` for a running controller; further ones stand beside it."""
        return self.root / "stop.json"

    @property
    def trash(self) -> Path:
        """Where ``gc`` moves what nobody needs; deleted a day later."""
        return self.root / "trash"

    @property
    def card(self) -> Path:
        return self.root / "task" / "card.json"

    @property
    def sources(self) -> Path:
        """One ``NAME.jsonl`` a training source."""
        return self.root / "task" / "sources"

    @property
    def dev(self) -> Path:
        return self.root / "task" / "dev.jsonl"

    @property
    def block(self) -> Path:
        """Hashes of the dev and test rows, whole and in parts, one a line: what training rows are checked against."""
        return self.root / "task" / "block.txt"

    @property
    def test(self) -> Path:
        """The sealed test rows; their folder has mode 0700."""
        return self.root / "sealed" / "test.jsonl"

    def here(self, path: str) -> Path:
        """Where a file of a round lies that its job named: the search may lie under another path for the job, or since."""
        _, rounds, within = path.rpartition("/nodes/")
        return self.root / "nodes" / within if rounds else Path(path)

    def node(self, node: int) -> Path:
        """The folder of a round."""
        return self.root / "nodes" / f"{node:04d}"

    def plan(self, node: int) -> Path:
        return self.node(node) / "plan.json"

    def cases(self, node: int) -> Path:
        """The bad cases of a round's best trial against its parent's."""
        return self.node(node) / "cases.json"

    def data(self, node: int) -> Path:
        return self.node(node) / "data"

    def answers(self, node: int) -> Path:
        """Folder of what a language model said of a round's rows: ``N.json`` answers the questions of attempt N."""
        return self.node(node) / "answers"

    def packed_logs(self, node: int) -> Path:
        """The logs of a closed round's jobs, packed by ``gc``; the names inside are relative to the round's folder."""
        return self.node(node) / "logs.tar.gz"

    def attempt(self, node: int, trial: int, attempt: int) -> AttemptPaths:
        """The folder of one job; trial 0 is the round's preparation."""
        return AttemptPaths(self.node(node) / "trials" / str(trial) / "attempts" / str(attempt))
