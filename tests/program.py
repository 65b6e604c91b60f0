"""Run the real program as a user does, in a process of its own, and read what it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hpc_trex.layout import SearchPaths
from hpc_trex.models import JobKind
from hpc_trex.tree.check import check
from hpc_trex.tree.store import Store


def trex(*arguments: object, timeout: float = 600, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run ``hpc-trex ARGUMENTS`` to its end and return what it printed; fail when its exit code is another."""
    done = subprocess.run(
        [sys.executable, "-m", "hpc_trex", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if code is not None and done.returncode != code:
        raise AssertionError(f"{arguments} exited {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}")
    return done


def start(*arguments: object, log: Path) -> subprocess.Popen[bytes]:
    """Start ``hpc-trex ARGUMENTS`` and return the process; its output goes to ``log``."""
    with log.open("ab") as handle:
        return subprocess.Popen(
            [sys.executable, "-m", "hpc_trex", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
        )


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait for a condition; fail with ``what`` when it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def status(search: Path) -> dict:
    """Return ``hpc-trex status --json``."""
    return json.loads(trex("status", search, "--json").stdout)


def assert_whole(search: Path) -> None:
    """Assert what must hold of every finished search: consistent, each planned job run once, the test opened once."""
    paths = SearchPaths(search)
    assert check(paths) == []
    with Store.read(paths) as store:
        attempts = store.attempts()
        trials = [trial for node in store.nodes() for trial in node.trials]
    claims = sorted(paths.root.glob("nodes/*/trials/*/attempts/*/started.json"))
    assert len(attempts) == len({item.token for item in attempts})
    started = {json.loads(claim.read_text())["token"] for claim in claims}
    assert len(started) == len(claims), "two folders were claimed by one token"
    assert started <= {item.token for item in attempts}, "a job ran that nobody recorded"
    assert sum(trial.kind is JobKind.TEST for trial in trials) == 1
    assert sum(item.kind is JobKind.TEST for item in attempts) == 1
