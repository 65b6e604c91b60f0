"""Deaths on purpose, for tests: the controller kills itself at the boundaries of its steps (DESIGN section 8).

The program calls :func:`reach` wherever a death in between could lose or double something: before and after each database
write, submit and rename. It does nothing unless ``HPC_TREX_FAULTS`` names a file. Then the process writes the boundary that it
has come to into that file and dies with SIGKILL - unless the file already holds it, because an earlier process died there. So
one search that is started again and again dies once at each of its boundaries, and gets to its end all the same. A line that
holds only the kind of a boundary (``event/logged``) lets all of that kind pass: behind a death there the step is not done
again, since its successor finds it done, and so nobody comes to ``event/after``.

The same step of the same search has the same name in every process, whatever happened before it: names hold tokens, numbers
of rounds and paths, never times, process ids, random parts or numbers of events (a note more or less would shift those).
"""

from __future__ import annotations

import os
import signal
from pathlib import PurePath

VARIABLE = "HPC_TREX_FAULTS"
#: What tells one event from another; an event of a search has some of these.
_PARTS = ("type", "node", "trial", "attempt", "token", "state", "gate", "number")

#: The file of the deaths died so far; empty: nobody dies. Taken out of the environment, so that the jobs of this process and
#: the programs that it runs do not die as well.
_ledger = os.environ.pop(VARIABLE, "")


def arm(ledger: str) -> None:
    """Die from now on, as ``HPC_TREX_FAULTS`` says, in a process that has started already; empty: no longer."""
    global _ledger  # noqa: PLW0603
    _ledger = ledger


def reach(boundary: str, subject: object = "") -> None:
    """Tell that the process has come to a boundary, e.g. ``submit/after`` of the token ``trex-1a2b-n1-t1-a1``.

    ``subject`` is a token, a path or an event; its name is made only where it is wanted.
    """
    if _ledger:
        _die_once(_ledger, f"{boundary} {_name(subject)}".rstrip())


def _name(subject: object) -> str:
    if isinstance(subject, str):
        return subject
    if isinstance(subject, PurePath):  # folders that are being made have random names that begin with a dot
        return "/".join(part for part in subject.parts if not part.startswith(".")).lstrip("/")
    return "-".join(str(getattr(subject, part)) for part in _PARTS if hasattr(subject, part))


def _die_once(ledger: str, boundary: str) -> None:
    descriptor = os.open(ledger, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+") as handle:
        if not {boundary, boundary.split(" ", 1)[0]}.isdisjoint(handle.read().splitlines()):
            return
        handle.write(boundary + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    os.kill(os.getpid(), signal.SIGKILL)
