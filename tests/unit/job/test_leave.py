"""A tear-down that hangs: the work is done and handed over, and the process does not end. It must not keep the GPUs."""

from __future__ import annotations

from pathlib import Path

from tests.jobs import RunningJob, spec_for

#: The supervisor is the real one with a shorter patience; the worker hands its outcome over, then hangs as one does in a
#: collective that nobody answers.
HANGING = """
import sys
from hpc_trex.job import supervisor
supervisor._LEAVE_SECONDS = 1.0
worker = '''
import sys, time
from pathlib import Path
from hpc_trex.job.files import Outcome, hand_over
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobResult
paths = AttemptPaths(Path(sys.argv[1]).parent)
hand_over(paths, Outcome(result=JobResult(token=sys.argv[2], state="succeeded")))
time.sleep(600)
'''
supervisor.command = lambda spec, path, seat, paths: [sys.executable, "-c", worker, str(path), spec.token]
from hpc_trex.job.entry import run
sys.exit(run(sys.argv[1]))
"""


def test_a_worker_that_has_handed_over_and_does_not_end_is_killed_and_its_result_counts(tmp_path: Path):
    job = RunningJob(spec_for(tmp_path / "attempt", tmp_path), command=["-c", HANGING])
    assert job.wait(120) == 0, job.output
    assert job.result().state == "succeeded"
    assert "a process does not end: it is killed" in job.output
