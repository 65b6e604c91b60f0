"""Deaths on purpose: once a boundary, only where asked for, and free where not; and what the dead leave is swept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import timeit
from pathlib import Path

import pytest

from hpc_trex import faults
from hpc_trex.files import LEFT_OVER_SECONDS, sweep, temporary_name, write_atomic
from hpc_trex.models import SearchState
from hpc_trex.tree.events import AttemptQueued, SearchStateChanged, TrialAdded

WALK = """
from hpc_trex.faults import reach
import os, subprocess, sys
reach("write/before", "a")
reach("write/after", "a")
child = "from hpc_trex.faults import reach; reach('write/before', 'b'); print('the child lives')"
subprocess.run([sys.executable, "-c", child], check=True)
print("through")
"""


def walk(ledger: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WALK],
        env=os.environ | {faults.VARIABLE: str(ledger)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_process_dies_once_at_each_boundary_and_its_children_never(tmp_path):
    ledger = tmp_path / "ledger"
    assert [walk(ledger).returncode for _ in range(2)] == [-signal.SIGKILL, -signal.SIGKILL]
    last = walk(ledger)
    assert (last.returncode, last.stdout) == (0, "the child lives\nthrough\n")
    assert ledger.read_text() == "write/before a\nwrite/after a\n"


def test_a_kind_in_the_ledger_lets_all_of_that_kind_pass(tmp_path):
    ledger = tmp_path / "ledger"
    ledger.write_text("write/before\n")
    assert walk(ledger).returncode == -signal.SIGKILL
    assert ledger.read_text() == "write/before\nwrite/after a\n"


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("trex-1-n1-t1-a1", "trex-1-n1-t1-a1"),
        (Path("/searches/.mini.tmp-1-2-3/task/card.json"), "searches/task/card.json"),
        (AttemptQueued(token="trex-1", job_id="77"), "attempt_queued-trex-1"),
        (SearchStateChanged(state=SearchState.DONE, message="of 12:30"), "search_state-done"),
        (TrialAdded(node=3, trial=2, kind="train"), "trial_added-3-2"),
    ],
)
def test_a_boundary_has_the_same_name_in_every_process(subject, name):
    assert faults._name(subject) == name


def test_an_unarmed_boundary_costs_next_to_nothing():
    """Less than a microsecond, where the write beside it takes milliseconds."""
    event = AttemptQueued(token="trex-1", job_id="77")
    best = min(timeit.repeat(lambda: faults.reach("event/before", event), number=10_000, repeat=5)) / 10_000
    assert best < 1e-6


DIE = """
import os, signal, sys
from pathlib import Path
from hpc_trex.files import temporary_name
temporary_name(Path(sys.argv[1])).write_text("half")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_dead_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    target = tmp_path / "plan.json"
    write_atomic(target, "old")
    subprocess.run([sys.executable, "-c", DIE, str(target)], check=False)
    mine = temporary_name(target)
    mine.write_text("being written")
    (tmp_path / ".plan.json.swp").write_text("an editor's")
    assert len(list(tmp_path.iterdir())) == 4
    assert len(sweep(tmp_path, now=time.time())) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".plan.json.swp", "plan.json", mine.name])


def test_what_another_machine_writes_is_left_alone_for_an_hour(tmp_path):
    elsewhere = tmp_path / ".plan.json.tmp-0123abcd-1-5eed"
    elsewhere.write_text("being written")
    assert sweep(tmp_path, now=elsewhere.stat().st_mtime + LEFT_OVER_SECONDS - 1) == []
    assert sweep(tmp_path, now=elsewhere.stat().st_mtime + LEFT_OVER_SECONDS + 1) == [elsewhere]
    assert sweep(tmp_path / "gone", now=0.0) == []
