"""What one element leaves of its jobs."""

from __future__ import annotations

import pytest

from hpc_trex.files import write_record
from hpc_trex.sweep.element import Clock, Job
from hpc_trex.sweep.folder import held, read_config, runs
from hpc_trex.sweep.records import RunRecord


def test_the_hours_of_a_job_that_slurm_put_back_into_the_queue_add_up(make):
    paths = make()
    config = read_config(paths)
    record = paths.element(0).run("a1")
    record.parent.mkdir(parents=True)
    write_record(record, RunRecord(token="a1", job_id="41_0", host="n1", began="2026-01-01", seconds=3600, gpus=0))
    clock = Clock(paths.element(0), config, Job("a1", "41_0"))
    clock.beat()
    (again,) = runs(paths, 0)
    assert again.seconds == pytest.approx(3600, abs=60)
    assert again.seconds >= 3600
    other = Clock(paths.element(0), config, Job("a2", "42_0"))
    other.end("done")
    assert held(paths, [0])[1] == pytest.approx(again.cpus * 1.0, abs=0.05)
