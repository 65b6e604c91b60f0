"""Elements as processes of this machine: how many at once."""

from __future__ import annotations

import subprocess
import sys

from hpc_trex.sweep import local
from hpc_trex.sweep.folder import read_config


def test_what_an_earlier_launch_left_running_counts(make, monkeypatch):
    """A launch that was killed leaves its elements at work: going on must not run more at once than the throttle says."""
    paths = make(seeds=(0, 1))
    began: list[tuple[int, bool]] = []
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1.5)"])

    def start(_paths, _config, number):
        began.append((number, left.poll() is None))
        return subprocess.Popen(["true"])

    monkeypatch.setattr(local, "_start", start)
    local.run_here(paths, read_config(paths), [0, 1], lambda _: None, keep=lambda: None, beside=[left.pid])
    assert began == [(0, False), (1, False)]
