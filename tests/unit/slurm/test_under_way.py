"""A submit may outlive the controller that began it: until it is through, its job is not absent."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hpc_trex.models import Profile
from hpc_trex.slurm.commands import Answer
from hpc_trex.slurm.scheduler import JobRef, JobState
from hpc_trex.slurm.submitit_backend import SlurmScheduler, under_way
from tests.program import wait_until


def test_a_job_whose_sbatch_still_waits_is_unknown_and_absent_when_that_is_over(tmp_path: Path) -> None:
    nobody = SlurmScheduler(
        Profile(name="p", scheduler="slurm", accounting="no"), ask=lambda command: Answer(0, "", "")
    )
    mine, other = (JobRef(f"trex-{number}", None, tmp_path / str(number)) for number in (1, 2))
    script = mine.directory / "submitit" / ".submission_file_1.sh"
    # What an sbatch looks like that waits for slurmctld: its name, and the script of the attempt.
    waiting = subprocess.Popen(["sh", "-c", "read line", "sbatch", "--parsable", str(script)], stdin=subprocess.PIPE)
    try:
        wait_until(lambda: under_way(mine.directory), seconds=20, what="the shell's words in /proc")
        states = {token: status.state for token, status in nobody.poll([mine, other]).items()}
        assert states == {"trex-1": JobState.UNKNOWN, "trex-2": JobState.ABSENT}
        known = mine._replace(job_id="7")
        assert nobody.poll([known])["trex-1"].state is JobState.ABSENT
    finally:
        waiting.communicate(b"\n")
    assert nobody.poll([mine])["trex-1"].state is JobState.ABSENT
