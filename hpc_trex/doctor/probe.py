"""The probe job: one small job through Slurm, started as every job is, that looks around on a compute node."""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path
from typing import NamedTuple

from hpc_trex.doctor import node
from hpc_trex.doctor.check import Check, failure, ok, warning
from hpc_trex.doctor.contender import try_lock
from hpc_trex.doctor.disks import judge_lock
from hpc_trex.errors import ClusterRefused, TrexError
from hpc_trex.files import read_record, write_record
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobKind, Profile, Resources
from hpc_trex.slurm.failures import classify, pending_hint
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState, JobStatus, SubmitUnavailable
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from hpc_trex.tree.lease import Lease

NAME = "probe job"
MINUTES = 5
#: A job that runs when the waiting is over is waited for so much longer.
_RUNNING_SECONDS = 120.0
_LOOK_SECONDS = 0.1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
#: After its end Slurm says so before the file is seen (caches of a network file system).
_LATE_SECONDS = 10.0
_LAST_LOOKS = 10


class Outcome(NamedTuple):
    """What became of the probe job: its facts, or the line that says why there are none."""

    facts: node.Facts | None
    checks: list[Check]


def resources(profile: Profile) -> Resources:
    """Return what the probe asks for: an evaluation of five minutes, on one GPU where the profile has GPUs."""
    like = profile.evaluate if profile.evaluate.gpus_per_node else profile.train
    return Resources(
        gpus_per_node=min(1, like.gpus_per_node),
        cpus_per_task=min(2, like.cpus_per_task),
        mem_gb=min(4.0, like.mem_gb),
        minutes=min(MINUTES, profile.max_minutes or MINUTES),
    )


def probe(profile: Profile, folder: Path, addresses: dict[str, str], *, wait: float) -> Outcome:
    """Run the probe job in ``folder`` and return what it found. It is cancelled when it does not start in time."""
    scheduler = SlurmScheduler(profile, entry=node.examine)
    token = f"trex-doctor-{secrets.token_hex(4)}"
    order = AttemptPaths(folder).spec
    _, held, lock = node.paths(folder)
    held.root.mkdir()
    write_record(order, _order(profile, folder, addresses))
    request = JobRequest(token, folder, order, JobKind.BASELINE, resources(profile))
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        stack.enter_context(Lease(held))
        handle = stack.enter_context(lock.open("a"))
        try_lock(handle.fileno())
        try:
            job = JobRef(token, scheduler.submit(request), folder)
        except (ClusterRefused, SubmitUnavailable) as error:
            return Outcome(None, [failure(NAME, error.message, error.hint)])
        stack.callback(_cancel, scheduler, job)
        facts, status = _wait(scheduler, job, wait)
        if facts is not None:
            _let_end(scheduler, job)
    if facts is not None:
        took = time.monotonic() - begun
        return Outcome(facts, [ok(NAME, f"job {job.job_id} ran on {facts.host}; {took:.0f} s from submit to result")])
    return Outcome(None, [_why(job, status, wait)])


def _order(profile: Profile, folder: Path, addresses: dict[str, str]) -> node.Order:
    return node.Order(addresses=addresses, sbatch=_options(profile, folder), sandbox_image=profile.image_of_code)


def _options(profile: Profile, folder: Path) -> tuple[str, ...]:
    given = {"partition": profile.partition, "account": profile.account, "qos": profile.qos}
    words = [f"--{key}={value}" for key, value in given.items() if value]
    return (*words, "--time=1", f"--chdir={folder}", "--wrap=true")


def _wait(scheduler: SlurmScheduler, job: JobRef, wait: float) -> tuple[node.Facts | None, JobStatus]:
    """Wait for the facts. Slurm is asked seldom, the folder often."""
    target = node.paths(job.directory)[0]
    status = JobStatus(JobState.QUEUED, job.job_id)
    now = time.monotonic()
    end, pause, next_look = now + wait, _FIRST_PAUSE, now + _FIRST_PAUSE
    while now < end:
        list(job.directory.iterdir())  # a listing makes a network file system look again
        facts = read_record(target, node.Facts)
        if facts is not None:
            return facts, status
        if now >= next_look:
            before, status = status.state, scheduler.poll([job])[job.token]
            if status.state is JobState.ENDED and before is not JobState.ENDED:
                end = min(end, now + _LATE_SECONDS)
            elif status.state is JobState.RUNNING and before is not JobState.RUNNING:
                end += _RUNNING_SECONDS
            pause = min(pause * 2, _LONGEST_PAUSE)
            next_look = now + pause
        time.sleep(_LOOK_SECONDS)
        now = time.monotonic()
    return None, scheduler.poll([job])[job.token] if status.state is not JobState.ENDED else status


def _let_end(scheduler: SlurmScheduler, job: JobRef) -> None:
    """Wait some seconds for the job's last words: its folder is removed now."""
    for _ in range(_LAST_LOOKS):
        if scheduler.poll([job])[job.token].state in (JobState.ENDED, JobState.ABSENT):
            return
        time.sleep(_FIRST_PAUSE)


def _cancel(scheduler: SlurmScheduler, job: JobRef) -> None:
    with contextlib.suppress(TrexError):
        scheduler.cancel([job])


def _why(job: JobRef, status: JobStatus, wait: float) -> Check:
    """Say why there is no answer from the compute node."""
    if status.state is JobState.QUEUED:
        words = pending_hint(status.reason)
        found = f"job {job.job_id} did not start within {wait:.0f} s and was cancelled: {status.reason or 'no reason given'}"
        return warning(
            NAME, found + (f" ({words})" if words else ""), "ask again with a longer --wait, or with --no-job"
        )
    log = _log(job.directory)
    if status.state is JobState.ENDED:
        remedy = f"jobs would end so too: does a compute node see {job.directory.parent}, and the interpreter?"
        return failure(NAME, classify(status, log)[1] + _end_of(log), remedy)
    found = f"job {job.job_id} gave no answer: {status.state.value} {status.reason}{_end_of(log)}"
    return warning(NAME, found.strip(), "squeue --me; ask again with a longer --wait")


def _log(folder: Path) -> str:
    paths, text = AttemptPaths(folder), ""
    for path in (paths.stdout, paths.stderr):
        with contextlib.suppress(OSError):
            text += path.read_text(errors="replace")
    return text


def _end_of(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"; its output ends with: {lines[-1][:200]}" if lines else "; no output was seen"


def judge_disks(facts: node.Facts) -> list[Check]:
    """Say what the compute node could do with the folder and its own scratch."""
    if facts.lease == "refused":
        lease = ok("lease, compute", f"{facts.host} sees the lease that is held here, and is refused")
    else:
        lease = failure(
            "lease, compute",
            f"{facts.host}: {facts.lease}, though the lease is held here: two controllers could run one search",
            "put searches on another file system: export HPC_TREX_HOME=FOLDER",
        )
    lock = judge_lock(facts.lock, f"machine ({facts.host})").model_copy(update={"name": "file locks, compute"})
    clock = ok(
        "clock, compute", f"{facts.host}: the file server's is {facts.clock:+.1f} s off; no two clocks are compared"
    )
    return [lease, lock, clock, _scratch(facts)]


def _scratch(facts: node.Facts) -> Check:
    name, where = "scratch", facts.scratch + (f" (${facts.scratch_from})" if facts.scratch_from else "")
    if facts.scratch_free < 0:
        return failure(name, f"{where} cannot be written on {facts.host}", "set TMPDIR in [environment] of the profile")
    found = f"{where}: {facts.scratch_free / 10**9:.0f} GB free"
    if facts.scratch_free < 5 * 10**9:
        return warning(name, found, "set TMPDIR in [environment] of the profile to a larger folder")
    return ok(name, found)


def judge_sbatch(facts: node.Facts) -> Check:
    """Say whether jobs can be submitted from a compute node, which only ``--as-job`` needs."""
    name = "sbatch, compute"
    if facts.sbatch_code == 0:
        return ok(name, f"jobs can be submitted from {facts.host}: --as-job will do")
    remedy = "run the controller on a login node (launch, or tick from cron), or inside one allocation: --in-allocation"
    return warning(name, f"{facts.host}: {facts.sbatch_words}: --as-job will not do", remedy)
