"""The window and the length of a question to ``sacct``: neither since midnight nor since ever, nor too long a line."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from hpc_trex.layout import AttemptPaths
from hpc_trex.slurm.commands import Answer
from hpc_trex.slurm.queue import CHUNK, SlurmQueue
from hpc_trex.slurm.scheduler import JobRef, JobState


def test_accounting_is_asked_since_a_day_before_the_oldest_job_was_made_and_in_bites(tmp_path: Path):
    made = datetime.datetime(2026, 3, 14, 9, 30)
    asked: list[list[str]] = []

    def ask(command):
        asked.append(list(command))
        names = [word.removeprefix("--name=") for word in command if word.startswith("--name=")]
        rows = "".join(
            f"{name.removeprefix('t')}|COMPLETED|0:0|n1|{name}\n" for name in ",".join(names).split(",") if name
        )
        return Answer(0, rows if command[0] == "sacct" else "", "")

    jobs = []
    for number in range(1, CHUNK + 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        spec = AttemptPaths(folder).spec
        spec.touch()
        when = made.timestamp() + number * 3600
        os.utime(spec, (when, when))
        jobs.append(JobRef(f"t{number}", str(number), folder))
    statuses = SlurmQueue(accounting="yes", ask=ask).poll(jobs)
    assert {status.state for status in statuses.values()} == {JobState.ENDED}
    questions = [command for command in asked if command[0] == "sacct"]
    assert [len(next(word for word in one if word.startswith("--name=")).split(",")) for one in questions] == [CHUNK, 1]
    assert {one[one.index("-S") + 1] for one in questions} == {"2026-03-13T10:30:00"}
