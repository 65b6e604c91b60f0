"""The files of an attempt that only the job's own processes use; :class:`AttemptPaths` has the rest."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from hpc_trex.files import write_atomic
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobResult, Record


class Outcome(Record):
    """``worker-result.json``: what a worker hands to its supervisor. The first rank that ends writes it."""

    result: JobResult
    interrupted: bool = False
    """It was asked to stop and did; the supervisor knows why it asked."""


def outcome_path(paths: AttemptPaths) -> Path:
    """Return where the worker leaves its outcome."""
    return paths.root / "worker-result.json"


def hand_over(paths: AttemptPaths, outcome: Outcome) -> bool:
    """Write the outcome unless another rank has been first: the first failure is the cause, the others its echo."""
    target = outcome_path(paths)
    temporary = target.with_name(f".{target.name}.{os.environ.get('RANK', '0')}-{os.getpid()}")
    write_atomic(temporary, outcome.model_dump_json())
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


class StopRequest:
    """A file by which the supervisor asks all ranks to stop: it works through any launcher in between."""

    def __init__(self, paths: AttemptPaths, *, look_seconds: float = 0.25) -> None:
        self.path = paths.root / "stop-request.json"
        self._look_seconds = look_seconds
        self._looked = float("-inf")
        self._seen = False

    def ask(self, reason: str) -> None:
        """Ask the workers to stop."""
        write_atomic(self.path, json.dumps({"reason": reason}))

    def asked(self) -> bool:
        """Tell whether a stop was asked for. Looks at the disk at most every ``look_seconds``."""
        now = time.monotonic()
        if not self._seen and now - self._looked >= self._look_seconds:
            self._looked = now
            self._seen = self.path.exists()
        return self._seen
