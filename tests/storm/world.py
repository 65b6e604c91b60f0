"""What the storm blows over: a test cluster, searches on it, and their controllers, which are started again when they die."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hpc_trex.layout import SearchPaths
from hpc_trex.models import SearchState
from hpc_trex.tree.store import Store
from tests.cluster.conftest import TestCluster
from tests.noop import noop_profile, noop_search
from tests.program import start

PYTHON = Path(__file__).parent / "python"
#: A search in each: their jobs give way to those of ``high``, at once or after a while.
PARTITIONS = ("low", "grace")
#: Trials of a round; the sealed test comes after them.
TRIALS = 3
OVER = (SearchState.DONE, SearchState.FAILED, SearchState.CANCELLED)


class Search:
    """One search and the process that is its controller, if there is one."""

    def __init__(self, paths: SearchPaths) -> None:
        self.paths = paths
        self.name = paths.root.name
        self.log = paths.root.parent / f"{self.name}.log"
        self.controller: subprocess.Popen[bytes] | None = None
        self.killed = False
        self.not_before = 0.0
        self.exits: Counter[int] = Counter()
        first = json.loads(paths.events.read_text().splitlines()[0])
        self.uid = str(first["event"]["config"]["uid"])

    def state(self) -> SearchState:
        with Store.read(self.paths) as store:
            return store.state()[0]

    def over(self) -> bool:
        return self.controller is None and self.state() in OVER

    def tend(self, now: float) -> str:
        """Start the controller if there is none and it is time; return what there is to tell."""
        if self.controller is None:
            if now >= self.not_before and self.state() not in OVER:
                self.controller = start("resume", self.paths.root, log=self.log)
            return ""
        code = self.controller.poll()
        if code is None:
            return ""
        self.controller = None
        self.exits[code] += 1
        self.not_before = now + 0.5
        if self.killed and code == -signal.SIGKILL:
            self.killed = False
            return ""
        return f"the controller of {self.name} ended with {code}"

    def kill(self, rest: float) -> bool:
        """End the controller at once; the next comes ``rest`` seconds later."""
        if self.controller is None or self.controller.poll() is not None:
            return False
        self.killed = True
        self.controller.kill()
        self.controller.wait()
        self.tend(time.monotonic())
        self.not_before = time.monotonic() + rest
        return True


class World:
    """Everything that can be hit."""

    def __init__(self, home: Path, *, accounting: bool, seed: int, rounds: int, longest: int) -> None:
        self.random = random.Random(seed)
        self.home = home
        self.accounting = accounting
        self.began = time.monotonic()
        self.starts = home / "starts"
        self.cancelled: set[str] = set()
        """Tokens of the jobs that a person ended with scancel."""
        self.forgetful = False
        """slurmctld was killed: it may have forgotten jobs and given their numbers again."""
        self.lines: list[str] = []
        self.cluster = TestCluster() if accounting else TestCluster("-A")
        os.environ["SLURM_CONF"] = str(self.cluster.conf)
        if shutil.which("slurmctld") is None:
            os.environ["PATH"] += ":/usr/sbin"
        try:
            self.searches = [self._search(partition, seed, rounds, longest) for partition in PARTITIONS]
        except BaseException:
            self.cluster.down()  # nobody else knows of it
            raise

    def __enter__(self) -> World:
        return self

    def __exit__(self, *error: object) -> None:
        for search in self.searches:
            search.kill(0.0)
        self.cluster.down()

    def _search(self, partition: str, seed: int, rounds: int, longest: int) -> Search:
        profile = noop_profile(
            python=str(PYTHON),
            partition=partition,
            poll_seconds=1.0,
            parallel=4,
            environment={"TREX_STORM_STARTS": str(self.starts), "TREX_STORM_LONGEST": str(longest)},
        )
        return Search(
            noop_search(self.home, profile, name=f"on-{partition}", max_nodes=rounds, trials=TRIALS, seed=seed)
        )

    def say(self, line: str) -> None:
        """Tell what happened, and when."""
        self.lines.append(f"{time.monotonic() - self.began:7.1f} s  {line}")
        print(self.lines[-1], flush=True)

    def tend(self) -> None:
        """Look after the controllers."""
        for search in self.searches:
            told = search.tend(time.monotonic())
            if told:
                self.say(told)

    def over(self) -> bool:
        """Tell whether all searches are at their end."""
        return all(search.over() for search in self.searches)

    def slurm(self, *command: object) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's commands as an administrator would; in a storm it may fail."""
        try:
            return subprocess.run(
                [str(word) for word in command],
                capture_output=True,
                text=True,
                timeout=40,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(list(command), 124, "", "no answer")

    def jobs(self, states: str = "PD,R") -> dict[str, str]:
        """Return the jobs of the searches that are in the queue: id to name; empty when Slurm does not answer."""
        lines = self.slurm("squeue", "-h", "-t", states, "-o", "%i|%j").stdout.splitlines()
        uids = tuple(f"{search.uid}-" for search in self.searches)
        pairs = [line.split("|", 1) for line in lines if "|" in line]
        return {number: name for number, name in pairs if name.startswith(uids)}

    def out_of_service(self) -> set[str]:
        """Return the nodes that are down or drained; none when Slurm does not answer."""
        return set(self.slurm("sinfo", "-h", "-N", "-t", "down,drain,drng,fail", "-o", "%N").stdout.split())

    def held(self) -> dict[str, str]:
        """Return the jobs of the searches that are held in the queue: id to name."""
        lines = self.slurm("squeue", "-h", "-t", "PD", "-o", "%i|%j|%r").stdout.splitlines()
        rows = [line.split("|", 2) for line in lines if "held" in line.lower()]
        return {job: name for job, name, _ in rows if name.startswith(tuple(search.uid for search in self.searches))}

    def processes(self) -> Iterator[tuple[int, str]]:
        """Yield number and name of the processes of the searches' jobs: they work in the folder of an attempt."""
        root = str(self.home)
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "cwd").startswith(root):  # noqa: PTH115 # a deleted folder is a name too
                    yield int(folder.name), (folder / "comm").read_text().strip()
            except OSError:
                continue

    def answers(self) -> bool:
        """Tell whether slurmctld answers: node.sh would wait for it for ever."""
        return self.daemon("slurmctld") is not None and "is UP" in self.slurm("scontrol", "ping").stdout

    def daemon(self, name: str) -> int | None:
        """Return the number of one of Slurm's daemons; None when it is away."""
        try:
            return int((self.cluster.state / "run" / f"{name}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
