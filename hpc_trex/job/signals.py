"""The signals that ask a job to end: noted first of all, acted upon by the supervisor's loop."""

from __future__ import annotations

import signal
from types import FrameType

#: ``--signal`` of the batch script: the time limit is near.
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
#: Preemption, a cancel, the end of the time limit, Ctrl-C.
ENDINGS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Notes which signals came. Slurm sends USR2 to every process of a step, and the default of USR2 is death, so
    this is installed before anything else is imported, and children start with all of them ignored.
    """

    def __init__(self) -> None:
        self.received: list[signal.Signals] = []

    def install(self) -> StopSignals:
        """Take over the signals of this process (main thread only)."""
        for number in WARNINGS + ENDINGS:
            signal.signal(number, self._note)
        return self

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(signal.Signals(number))


def ignore_all() -> None:
    """Ignore them, in a child between fork and exec: what is ignored stays ignored over exec."""
    for number in WARNINGS + ENDINGS:
        signal.signal(number, signal.SIG_IGN)
