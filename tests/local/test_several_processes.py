"""Trainings of several processes and nodes: they are one training, and one of them that dies or hangs holds none of the others."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from hpc_trex.models import FailureClass
from tests.jobs import IMPATIENT, RunningJob, assert_all_gone, family, hang, long_training, run_job, tell, workers_of

pytestmark = pytest.mark.local


def test_two_processes_train_as_one_does(place: Path, base: dict[str, str], rows: str) -> None:
    """Data parallel over gloo, through torch's launcher; with a stop in between, after which each holds half of it (FSDP2)."""
    train = {"max_steps": 60, "batch_size": 6, "micro_batch_size": 2, "learning_rate": 1e-3}
    alone, _ = run_job(long_training(place, "one-process", base, rows, train=train))
    job = RunningJob(
        long_training(place, "two-processes", base, rows, train=train, resources={"processes_per_node": 2})
    )
    job.until(lambda beat: beat.step >= 5)
    processes = family(job)
    assert len(workers_of(job)) == 2
    # The launcher must not kill the workers on it.
    tell([psutil.Process(job.process.pid), *processes], signal.SIGTERM)
    job.wait()
    assert_all_gone(processes)
    assert job.result().failure is FailureClass.PREEMPTED, job.output
    again = long_training(
        place,
        "two-processes-2",
        base,
        rows,
        train=train | {"parallel": "fsdp"},
        resources={"processes_per_node": 2},
        resume_from=(str(job.paths.checkpoints),),
    )
    both, output = run_job(again)
    assert both.state == "succeeded", output
    assert (both.world_size, both.parallel) == (2, "fsdp")
    assert both.resumed_from_step == job.result().steps >= 5
    assert both.tokens == alone.tokens
    assert [point.loss for point in both.curve] == pytest.approx([point.loss for point in alone.curve], rel=1e-3)


def test_two_nodes_meet_and_only_the_first_one_writes(place: Path, base: dict[str, str], rows: str) -> None:
    """Two supervisors as Slurm would start them, one a node; here both nodes are this machine."""
    spec = long_training(place, "two-nodes", base, rows, train={"max_steps": 5}, resources={"nodes": 2})
    slurm = {"SLURM_JOB_ID": "4242", "SLURM_NNODES": "2"}
    second = RunningJob(spec, SLURM_PROCID="1", **slurm)
    first = RunningJob(spec, SLURM_PROCID="0", **slurm)
    assert first.wait() == 0, first.output
    assert second.wait() == 0, second.output
    assert first.result().world_size == 2
    assert first.result().job_id == "4242"


def test_one_rank_that_dies_ends_all(place: Path, base: dict[str, str], rows: str) -> None:
    job = RunningJob(long_training(place, "one-rank-dies", base, rows, resources={"processes_per_node": 2}))
    job.until(lambda beat: beat.step >= 5)
    processes = family(job)
    workers_of(job)[1].kill()
    job.wait()
    assert_all_gone(processes)
    assert job.result().state == "failed"


def test_one_rank_that_blocks_for_ever_is_found_and_holds_nobody(place: Path, base: dict[str, str], rows: str) -> None:
    spec = long_training(place, "one-rank-hangs", base, rows, resources={"processes_per_node": 2}, stall_seconds=5)
    job = RunningJob(spec, IMPATIENT)
    job.until(lambda beat: beat.step >= 5)
    processes = family(job)
    other = next(one for one in workers_of(job) if one.environ().get("RANK") == "1")
    hang(job, other)  # rank 0, which beats, waits for it in the next reduction
    job.wait()
    assert_all_gone(processes)
    assert job.result().failure is FailureClass.TIMEOUT, job.output
    assert "hung" in job.result().message


def test_a_hung_node_does_not_hold_the_other_one(place: Path, base: dict[str, str], rows: str) -> None:
    spec = long_training(place, "one-node-hangs", base, rows, resources={"nodes": 2}, stall_seconds=5)
    slurm = {"SLURM_JOB_ID": "4343", "SLURM_NNODES": "2"}
    second = RunningJob(spec, IMPATIENT, SLURM_PROCID="1", **slurm)
    first = RunningJob(spec, IMPATIENT, SLURM_PROCID="0", **slurm)
    first.until(lambda beat: beat.step >= 5)
    processes = family(first) + family(second)
    hang(second, workers_of(second)[0])
    first.wait()
    second.wait()
    assert_all_gone(processes)
    assert first.result().failure is FailureClass.TIMEOUT, first.output
