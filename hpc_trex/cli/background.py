"""Start a controller as a background process that outlives the terminal: ``launch -d`` and ``resume -d``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpc_trex.cli.options import emit
from hpc_trex.errors import ClusterRefused, EnvironmentProblem, LeaseHeld
from hpc_trex.slurm.environment import with_this_package

if TYPE_CHECKING:
    from pathlib import Path

    from hpc_trex.layout import SearchPaths

#: How long the new process may take for its first tick (a cold network file system is slow to import from).
START_SECONDS = 60.0
LOG_LINES = 8


def detached(paths: SearchPaths, options: Sequence[str] = ()) -> int:
    """Start ``hpc-trex resume`` on the search in its own session, wait until it holds the lease, and return 0.

    Raises :class:`EnvironmentProblem` with the end of its log when it does not get so far.
    """
    before = paths.log.stat().st_size if paths.log.exists() else 0
    with paths.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hpc_trex", "--no-color", "resume", str(paths.root), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=with_this_package(os.environ),
        )
    _wait_for_start(paths, process, before)
    name = paths.root.name
    emit(
        f"controller runs in the background (pid {process.pid} on {os.uname().nodename}); log: {paths.log}\n"
        f"watch: hpc-trex status {name}    end: hpc-trex cancel {name}    after a reboot: hpc-trex resume {name} -d"
    )
    return 0


def _wait_for_start(paths: SearchPaths, process: subprocess.Popen[bytes], before: int) -> None:
    """Wait until the child has done its first tick, and says so in its log."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        code = process.poll()
        if code == 0 or (code is None and _at_work(paths.log, before)):
            return
        if code is not None:
            break
        time.sleep(0.1)
    from hpc_trex.cli.tail import tail_lines

    end = "\n".join(tail_lines(paths.log, LOG_LINES))
    problem = EnvironmentProblem(
        f"the background controller did not start (exit code {process.poll()}):\n{end}", hint=f"its log: {paths.log}"
    )
    if process.poll() in {ClusterRefused.exit_code, LeaseHeld.exit_code}:
        problem.exit_code = process.returncode  # what the controller itself ended with
    raise problem


def _at_work(log: Path, before: int) -> bool:
    from hpc_trex.report.live import AT_WORK

    with log.open("rb") as handle:
        handle.seek(before)
        return AT_WORK.encode() in handle.read()
