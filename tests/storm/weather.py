"""The blows of the storm. Each tells what it did and, where something must be mended again, when and how."""

from __future__ import annotations

import heapq
import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from tests.storm.world import TRIALS, World

NODES = tuple(f"trex{number}" for number in range(1, 5))
#: Nodes that may be out of service at once.
MOST_OUT = 2


class Weather:
    """Draws blows and keeps what has to be mended."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self._due: list[tuple[float, int, str, Callable[[], None]]] = []
        self._count = 0
        self._out: set[str] = set()
        self.blows: dict[str, int] = {}
        self._table: list[tuple[int, str, Callable[[], str]]] = [
            (8, "controller killed", self._kill_controller),
            (4, "trial's process killed", self._kill_process),
            (2, "slurmd killed", self._kill_slurmd),
            (2, "node died", self._kill_node),
            (1, "node down", self._node_down),
            (2, "node drained", self._drain),
            (2, "slurmctld restarted", self._stop_slurmctld),
            (2, "slurmctld killed", self._kill_slurmctld),
            (2, "requeue by an administrator", self._requeue),
            (3, "preempted by a higher partition", self._preempt),
            (2, "time limit", self._time_limit),
            (1, "scancel by a person", self._scancel),
        ]
        if world.accounting:
            self._table.append((2, "slurmdbd down", self._stop_slurmdbd))
        self._first = self.random.sample(self._table, len(self._table))

    def blow(self) -> bool:
        """Do one thing; return False when there was nothing to do it to. Each kind comes once before chance decides."""
        if self._first:
            kind = self._first.pop(0)
            done = self._act(kind)
            self._first += [] if done else [kind]
            return done
        return self._act(self.random.choices(self._table, [weight for weight, _, _ in self._table])[0])

    @property
    def missing(self) -> list[str]:
        """Kinds of blow that have not fallen yet."""
        return [name for _, name, _ in self._first]

    def _act(self, kind: tuple[int, str, Callable[[], str]]) -> bool:
        _, name, act = kind
        told = act()
        if told:
            self.blows[name] = self.blows.get(name, 0) + 1
            self.world.say(f"{name}: {told}")
        return bool(told)

    def mend(self, *, everything: bool = False) -> bool:
        """Mend what is due (or all); return whether there is nothing left to mend."""
        while self._due and (everything or self._due[0][0] <= time.monotonic()):
            _, _, what, act = heapq.heappop(self._due)
            try:
                act()
                self.world.say(f"mended: {what}")
            except AssertionError as error:  # node.sh could not; e.g. slurmctld is away
                self._later(5.0, what, act)
                self.world.say(f"not mended yet: {what}: {str(error).splitlines()[-1]}")
                if everything:
                    return False
        return not self._due

    def resume_nodes(self) -> None:
        """Give back the nodes that Slurm took out of service itself, as an administrator would.

        It does so when a node says that it has a job's number already, or that a killed process does not go.
        """
        for node in sorted(self.world.out_of_service() - self._out):
            with suppress(AssertionError):
                self.world.cluster.node("start", node)
                self.world.say(f"mended: {node} back, drained by Slurm itself")

    def release_held(self) -> None:
        """Release the jobs that are still held: a killed slurmctld may have forgotten that they were released."""
        for job, name in self.world.held().items():
            if not self._control("release", job):
                self.world.say(f"mended: {name} released again")

    def _later(self, seconds: float, what: str, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._count, what, act))

    # ---- our own processes ----------------------------------------------------------------------------------------

    def _kill_controller(self) -> str:
        search = self.random.choice(self.world.searches)
        rest = self.random.uniform(0, 4)
        return f"{search.name}, for {rest:.1f} s" if search.kill(rest) else ""

    def _kill_process(self) -> str:
        found = [(pid, name) for pid, name in self.world.processes() if name != "sleep"]
        if not found:
            return ""
        pid, name = self.random.choice(sorted(found))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return f"{name} ({pid})"

    # ---- nodes ----------------------------------------------------------------------------------------------------

    def _pick_node(self) -> str | None:
        up = sorted(set(NODES) - self._out)
        return self.random.choice(up) if len(self._out) < MOST_OUT else None

    def _hit_node(self, verb: str, seconds: float) -> str:
        node = self._pick_node()
        if node is None or not self.world.answers():
            return ""
        self.world.cluster.node(verb, node)
        self._out.add(node)
        self._later(seconds, f"{node} back", lambda: self._back(node))
        return f"{node}, for {seconds:.0f} s"

    def _back(self, node: str) -> None:
        assert self.world.answers(), "slurmctld is away"
        self.world.cluster.node("start", node)
        self._out.discard(node)

    def _kill_slurmd(self) -> str:
        return self._hit_node("killslurmd", self.random.uniform(1, 12))

    def _kill_node(self) -> str:
        return self._hit_node("kill", self.random.uniform(1, 40))

    def _node_down(self) -> str:
        return self._hit_node("down", self.random.uniform(1, 15))

    def _drain(self) -> str:
        node = self._pick_node()
        if node is None or not self.world.answers():
            return ""
        if self._control("update", f"nodename={node}", "state=drain", "reason=storm"):
            return ""
        self._out.add(node)
        seconds = self.random.uniform(5, 25)
        self._later(seconds, f"{node} undrained", lambda: self._back(node))
        return f"{node}, for {seconds:.0f} s"

    # ---- Slurm's daemons ------------------------------------------------------------------------------------------

    def _stop(self, daemon: str, seconds: float) -> str:
        if self.world.daemon(daemon) is None:
            return ""
        self.world.cluster.node("stop", daemon)
        self._later(seconds, f"{daemon} back", lambda: self.world.cluster.node("start", daemon))
        return f"for {seconds:.0f} s"

    def _stop_slurmctld(self) -> str:
        return self._stop("slurmctld", self.random.uniform(1, 15))

    def _stop_slurmdbd(self) -> str:
        return self._stop("slurmdbd", self.random.uniform(3, 25))

    def _kill_slurmctld(self) -> str:
        pid = self.world.daemon("slurmctld")
        if pid is None:
            return ""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        (self.world.cluster.state / "run" / "slurmctld.pid").unlink(missing_ok=True)
        self.world.forgetful = True
        seconds = self.random.uniform(0.5, 8)
        self._later(seconds, "slurmctld back", lambda: self.world.cluster.node("start", "slurmctld"))
        return f"for {seconds:.0f} s"

    # ---- jobs -----------------------------------------------------------------------------------------------------

    def _control(self, *words: str) -> str:
        """Ask scontrol; return its complaint, if any."""
        done = self.world.slurm("scontrol", *words)
        return (done.stderr.strip() or f"exit {done.returncode}") if done.returncode else ""

    def _running(self) -> tuple[str, str] | None:
        """Pick a running training; preparations and evaluations are over before one can hit them."""
        found = sorted(self.world.jobs("R").items()) if self.world.answers() else []
        return self.random.choice(found) if found else None

    def _requeue(self) -> str:
        """Our jobs refuse to be requeued; an administrator can overrule that."""
        picked = self._running()
        if picked is None:
            return ""
        job, name = picked
        verb = self.random.choice(("requeue", "requeuehold"))
        refused = self._control(verb, job)
        if self._control("update", f"JobId={job}", "Requeue=1") or self._control(verb, job):
            return ""
        if verb == "requeuehold":
            self._later(self.random.uniform(1, 8), f"{name} released", lambda: self._release(job))
        return f"{name}, by {verb}, first refused: {bool(refused)}"

    def _release(self, job: str) -> None:
        words = self._control("release", job)
        assert "Unable to contact" not in words, words

    def _preempt(self) -> str:
        if not self.world.answers():
            return ""
        done = self.world.slurm(
            "sbatch", "--parsable", "-p", "high", "-N", self.random.randint(1, 3), "--exclusive", "-t", "1", "-J", "storm-high",
            "-D", "/", "-o", "/dev/null", "--wrap", f"sleep {self.random.randint(2, 8)}",
        )  # fmt: skip
        found = re.search(r"^\d+$", done.stdout, re.MULTILINE)
        return f"job {found[0]}" if found else ""

    def _time_limit(self) -> str:
        picked = self._running()
        if picked is None or self._control("update", f"JobId={picked[0]}", "EndTime=now+1"):
            return ""
        return f"{picked[1]} within 30 s"

    def _scancel(self) -> str:
        """A person cancels a trial or the data of a round; the baseline and the sealed test would end the search, by design."""
        picked = self._running()
        if picked is None or not re.search(rf"-n[1-9]\d*-t[0-{TRIALS}]-", picked[1]):
            return ""
        self.world.cancelled.add(picked[1])
        done = self.world.slurm("scancel", picked[0])
        return picked[1] if done.returncode == 0 else f"{picked[1]}, not taken: {done.stderr.strip()}"
