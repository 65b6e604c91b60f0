"""Run one of Slurm's commands: with a time limit, in a clean environment, never through a shell."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hpc_trex.slurm.environment import clean_environment

#: Exit status reported for a command that is not installed, as a shell would.
NOT_FOUND = 127
#: Exit status reported for a command that ran past its limit, as ``timeout`` would.
TIMED_OUT = 124


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def words(self) -> str:
        """The last line of its complaint, for a person."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.code}"


#: How a command is asked; tests put recorded answers here.
Ask = Callable[[Sequence[str]], Answer]


def ask(command: Sequence[str], *, seconds: float = 60.0) -> Answer:
    """Run ``command`` and return what it said. It never raises: a missing command and a time-out are answers too."""
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=clean_environment(),
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        return Answer(NOT_FOUND, "", f"{command[0]}: command not found")
    except subprocess.TimeoutExpired:
        return Answer(TIMED_OUT, "", f"{command[0]} did not answer within {seconds:.0f} s")
    except OSError as error:
        return Answer(126, "", f"{command[0]}: {error.strerror}")
    return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
