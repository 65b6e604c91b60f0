"""The heartbeat: a small file that rank 0 rewrites while it makes progress."""

from __future__ import annotations

import time

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.files import write_record
from hpc_trex.job.files import StopRequest
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import Heartbeat
from hpc_trex.training.beat import Interrupted
from hpc_trex.training.say import say


class Beat:
    """Call it with a :class:`Heartbeat` whenever a piece of work is done; it is cheap.

    It fills in ``seconds``, writes at most every ``every`` seconds (and at each change of phase), and raises
    :class:`Interrupted` when the supervisor asked for a stop, except while training or saving: there the training
    loop itself stops between two steps, with a checkpoint.
    """

    def __init__(self, paths: AttemptPaths, *, every: float, rank: int = 0) -> None:
        self.stop = StopRequest(paths)
        self.rank = rank
        self._path = paths.heartbeat
        self._every = every
        self._began = time.monotonic()
        self._written = float("-inf")
        self._phase = ""

    def __call__(self, heartbeat: Heartbeat) -> None:
        now = time.monotonic()
        if self.rank == 0 and (heartbeat.phase != self._phase or now - self._written >= self._every):
            try:
                write_record(self._path, heartbeat.model_copy(update={"seconds": round(now - self._began, 3)}))
            except EnvironmentProblem as problem:
                # A full disk must not end a training that may outlive it; the checkpoint or the result will say so.
                say(f"heartbeat not written: {problem.message}")
            self._written, self._phase = now, heartbeat.phase
        if heartbeat.phase not in ("training", "saving") and self.stop.asked():
            raise Interrupted(f"stopped on request while {heartbeat.phase}", step=0)
