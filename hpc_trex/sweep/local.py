"""A sweep without Slurm: its elements as processes of this machine, so many at once as the throttle says (default one)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from hpc_trex.slurm import processes
from hpc_trex.slurm.environment import with_this_package
from hpc_trex.sweep.element import next_run
from hpc_trex.sweep.folder import result
from hpc_trex.sweep.layout import SweepPaths
from hpc_trex.sweep.records import SweepConfig

LOOK_SECONDS = 0.2


def run_here(
    paths: SweepPaths,
    config: SweepConfig,
    wanted: Sequence[int],
    say: Callable[[str], None],
    *,
    keep: Callable[[], None],
    beside: Sequence[int] = (),
) -> None:
    """Run the elements one after the other, or ``throttle`` at once; return when all are over. ``keep`` renews the lease.
    ``beside``: processes of elements that an earlier launch has left running, and that count.

    Each has a session of its own: Ctrl-C here ends the starting of further elements, never one that runs.
    """
    waiting, running = list(wanted), dict[int, subprocess.Popen[bytes]]()
    while waiting or running:
        others = sum(processes.read(pid) is not None for pid in beside)
        while waiting and others + len(running) < (config.throttle or 1):
            number = waiting.pop(0)
            if paths.element(number).cancelled.exists():
                continue
            running[number] = _start(paths, config, number)
            say(f"element {number} started (pid {running[number].pid}); log: {paths.element(number).log}")
        for number, process in list(running.items()):
            code = process.poll()
            if code is not None:
                del running[number]
                left = result(paths, number)
                fate = "left no result" if left is None else f"{left.state} {left.message}".strip()
                say(f"element {number} is over: {fate} (exit code {code})")
        keep()
        time.sleep(LOOK_SECONDS)


def _start(paths: SweepPaths, config: SweepConfig, number: int) -> subprocess.Popen[bytes]:
    element = paths.element(number)
    element.root.mkdir(parents=True, exist_ok=True)
    words = ["-m", "hpc_trex", "--no-color", "sweep", "element", str(paths.root), str(number)]
    with element.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-u", *words, "--here", next_run(paths, config, number)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=with_this_package(os.environ),
        )
