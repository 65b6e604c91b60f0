"""Deaths on purpose, for tests: the controller kills itself at the boundaries of its steps (DESIGN section 8).

The program calls :func:`reach` wherever a death in between could lose or double something: before and after each database
write, submit and rename. It does nothing unless ``HPC_TREX_FAULTS`` names a file. Then the process writes the boundary that it
has come to into that file and dies with SIGKILL - unless the file already holds it, because an earlier process died there. So
one search that is started again and again dies once at each of its boundaries, and gets to its end all the same.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "HPC_TREX_FAULTS"


def reach(boundary: str) -> None:
    """Tell that the process has come to a boundary, e.g. ``submit/after/trex-1a2b-n1-t1-a1``.

    The same step of the same search must have the same name in every process, so names hold tokens and event
    numbers, never times or process ids.
    """
    ledger = os.environ.get(VARIABLE)
    if ledger:
        _die_once(ledger, boundary)


def _die_once(ledger: str, boundary: str) -> None:
    descriptor = os.open(ledger, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+") as handle:
        if boundary in handle.read().splitlines():
            return
        handle.write(boundary + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    os.kill(os.getpid(), signal.SIGKILL)
