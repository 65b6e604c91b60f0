"""Step 1 of a tick: what became of the jobs. The result file speaks first, then the scheduler (DESIGN section 8)."""

from __future__ import annotations

import time

from hpc_trex.controller import charges
from hpc_trex.controller.context import Work
from hpc_trex.controller.frozen import by_the_rules
from hpc_trex.controller.leftovers import sweep_attempt
from hpc_trex.files import read_record, refuse_newer
from hpc_trex.models import AttemptState, AttemptView, FailureClass, Heartbeat, JobResult, TrialState, TrialView
from hpc_trex.slurm.failures import classify, taken_back
from hpc_trex.slurm.scheduler import JobRef, JobState, JobStatus
from hpc_trex.tree.events import AttemptEnded, AttemptQueued, AttemptRunning, TrialEnded

#: A job that is over without a result is believed to be so after this many looks in a row that agree.
AGREEING_LOOKS = 2
#: A job that the scheduler has forgotten is believed to live until its heartbeat has been silent for so long: slurmctld,
#: when it is killed, forgets jobs of the last seconds, and their processes go on to their end.
SILENT_SECONDS = 15.0
LOG_TAIL_BYTES = 20_000


def collect(work: Work) -> bool:
    """Record every change of a live attempt; return whether there was one."""
    live = work.store.live_attempts()
    if not live:
        return False
    waiting = [attempt for attempt in live if not _take_result(work, attempt)]
    changed = len(waiting) < len(live)
    if not waiting:
        return changed
    statuses = work.scheduler.poll([_ref(work, attempt) for attempt in waiting])
    for attempt in waiting:
        changed = _apply(work, attempt, statuses[attempt.token]) or changed
    return changed


def _ref(work: Work, attempt: AttemptView) -> JobRef:
    return JobRef(attempt.token, attempt.job_id, work.paths.root / attempt.directory)


def _take_result(work: Work, attempt: AttemptView, status: JobStatus | None = None) -> bool:
    """Record the attempt's result if its file is there; a file of another attempt, or half a file, is none.

    A job that was told to end cannot know by whom: its PREEMPTED waits for the scheduler's ``status``, and a person's
    ``scancel`` makes it CANCELLED, which is never tried again. Raises :class:`EnvironmentProblem` for the result of a
    newer program.
    """
    result = read_record(work.attempt_paths(attempt).result, JobResult)
    if result is None:
        # The program was changed while this controller runs: its job would be called lost, and run again.
        refuse_newer(work.attempt_paths(attempt).result, JobResult)
    if result is None or result.token != attempt.token:
        return False
    if result.failure is FailureClass.PREEMPTED:
        if status is None:
            return False
        if status.reason.startswith("CANCELLED") and not taken_back(status, begun=_begun(work, attempt)):
            message = f"cancelled outside hpc-trex [{status.reason}]"
            result = result.model_copy(update={"failure": FailureClass.CANCELLED, "message": message})
    work.suspects.pop(attempt.token, None)
    result = by_the_rules(work, result)
    if result.state != "succeeded":
        sweep_attempt(work.attempt_paths(attempt))  # a process that was ended may have died over its heartbeat
    charge = charges.of_result(attempt, result)
    work.record(
        AttemptEnded(
            token=attempt.token,
            succeeded=result.state == "succeeded",
            result=result.model_copy(update={"curve": (), "data_manifest": None}),
            failure=result.failure,
            message=result.message,
            seconds=charge.seconds,
            cpu_seconds=charge.cpu_seconds,
            gpus=attempt.gpus or result.gpus,
            progress_step=result.steps,
        )
    )
    return True


def _apply(work: Work, attempt: AttemptView, status: JobStatus) -> bool:
    """Record what the scheduler says of an attempt that has no result yet; return whether anything was recorded."""
    if status.state is JobState.UNKNOWN:
        return False
    if status.state in (JobState.QUEUED, JobState.RUNNING):
        work.suspects.pop(attempt.token, None)
        return _record_live(work, attempt, status)
    # The job may have written its result between our look at the file and the scheduler's answer. Listing the
    # folder makes a network file system ask its server instead of remembering that there was no such file.
    list(work.attempt_paths(attempt).root.iterdir())
    if _take_result(work, attempt, status):
        return True
    if status.state is JobState.ABSENT and _still_beats(work, attempt):
        return False
    looks = work.suspects.get(attempt.token, 0) + 1
    work.suspects[attempt.token] = looks
    if looks < AGREEING_LOOKS:
        return False
    # Never submitted, or not yet: submit.resubmit decides. A job that did start is never submitted again.
    absent = status.state is JobState.ABSENT and attempt.state is AttemptState.INTENT
    if absent and not work.attempt_paths(attempt).started.exists():
        return False
    return _record_lost(work, attempt, status)


def _still_beats(work: Work, attempt: AttemptView) -> bool:
    """Tell whether an attempt that the scheduler does not know has given a sign of life a short while ago."""
    try:
        beat = work.attempt_paths(attempt).heartbeat.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    now = time.monotonic()
    if work.beats.get(attempt.token, (0, 0.0))[0] != beat:
        work.beats[attempt.token] = (beat, now)
    return now - work.beats[attempt.token][1] < SILENT_SECONDS


def _record_live(work: Work, attempt: AttemptView, status: JobStatus) -> bool:
    changed = False
    # An administrator may put even a job back that refuses it: it waits again, perhaps held, and `status` must say so.
    put_back = status.state is JobState.QUEUED and attempt.state is AttemptState.RUNNING
    if (attempt.state is AttemptState.INTENT or put_back) and status.job_id:
        work.record(AttemptQueued(token=attempt.token, job_id=status.job_id))
        changed = True
    if status.state is JobState.RUNNING and attempt.state is not AttemptState.RUNNING:
        work.record(AttemptRunning(token=attempt.token, host=status.host))
        changed = True
    return changed


def _begun(work: Work, attempt: AttemptView) -> bool:
    """Tell whether the node has begun with the start of the job that Slurm speaks of; files of an earlier one tell nothing."""
    if attempt.state is AttemptState.QUEUED and attempt.running_at is not None:
        return False  # put back since it ran, and not recorded to run again
    paths = work.attempt_paths(attempt)
    return paths.started.exists() or paths.stdout.exists() or paths.stderr.exists()


def _record_lost(work: Work, attempt: AttemptView, status: JobStatus) -> bool:
    """Record a job that ended, or vanished, without a result."""
    paths = work.attempt_paths(attempt)
    tail = log_tail(paths.stdout) + log_tail(paths.stderr)
    failure, message = classify(status, tail, begun=_begun(work, attempt))
    beat = read_record(paths.heartbeat, Heartbeat)
    charge = charges.without_result(work, attempt, failure)
    sweep_attempt(paths)
    has_checkpoint = paths.checkpoints.is_dir() and any(paths.checkpoints.iterdir())
    work.suspects.pop(attempt.token, None)
    work.record(
        AttemptEnded(
            token=attempt.token,
            succeeded=False,
            failure=failure,
            message=message,
            seconds=charge.seconds,
            cpu_seconds=charge.cpu_seconds,
            gpus=attempt.gpus,
            progress_step=beat.step if beat and has_checkpoint else 0,
        )
    )
    return True


def log_tail(path: object) -> str:
    """Return the end of a log, for a person and for the classifier; empty when there is none."""
    from pathlib import Path

    log = Path(str(path))
    try:
        with log.open("rb") as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - LOG_TAIL_BYTES))
            return handle.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def trial_cancelled(trial: TrialView, message: str) -> TrialEnded:
    """Return the event of a trial that nobody will run any more."""
    return TrialEnded(
        node=trial.node,
        trial=trial.trial,
        state=TrialState.CANCELLED,
        failure=FailureClass.CANCELLED,
        message=message,
    )


def presumed_gone(work: Work, attempt: AttemptView, message: str) -> AttemptEnded:
    """Return the event of an attempt whose scheduler cannot be asked any more, and which a person says is over."""
    return cancelled(work, attempt, message).model_copy(update={"failure": FailureClass.LOST})


def cancelled(work: Work, attempt: AttemptView, message: str) -> AttemptEnded:
    """Return the event of an attempt that a person cancelled; what it used until then counts."""
    charge = charges.without_result(work, attempt, FailureClass.CANCELLED)
    return AttemptEnded(
        token=attempt.token,
        succeeded=False,
        failure=FailureClass.CANCELLED,
        message=message,
        seconds=charge.seconds,
        cpu_seconds=charge.cpu_seconds,
        gpus=attempt.gpus,
    )
