"""Step 5 of a tick: start jobs, exactly once each (DESIGN section 8).

Order: folder and ``spec.json`` on disk, the intent with its token in the log, the submit, the job id in the log. A
controller that dies in between leaves an intent; its successor asks the scheduler for the token first and submits
again, under the same token, only when the scheduler has twice said that it knows no such job. The job itself claims
its folder, so even a double could not run twice.
"""

from __future__ import annotations

import socket
import time

from hpc_trex.controller.advance import Ready
from hpc_trex.controller.budget import REACHED, cpus, fits, too_small, worst
from hpc_trex.controller.collect import AGREEING_LOOKS, trial_cancelled
from hpc_trex.controller.context import Work
from hpc_trex.controller.spec import folders_of, job_spec, resources_of
from hpc_trex.errors import ClusterRefused
from hpc_trex.faults import reach
from hpc_trex.files import user_name, write_record
from hpc_trex.models import AttemptState, AttemptView, FailureClass, JobKind, SearchState, TrialState
from hpc_trex.slurm.profiles import make_scheduler
from hpc_trex.slurm.queue import MOST_DOUBLINGS
from hpc_trex.slurm.scheduler import TAKES_NO_JOBS, JobRequest, Scheduler, SubmitRefused, SubmitUnavailable
from hpc_trex.tree.events import AttemptEnded, AttemptIntended, AttemptQueued
from hpc_trex.tree.openings import TestOpened, openings

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0


def submit(work: Work, ready: list[Ready]) -> int:
    """Submit what the free slots and the budget bear; return how many jobs were started."""
    if time.monotonic() < work.not_before:
        return 0
    started = _resubmit(work)
    free = work.config.parallel - len(work.store.live_attempts())
    for item in ready:
        if free <= 0 or time.monotonic() < work.not_before:
            break
        if not _fits(work, item):
            continue
        started += _start(work, item)
        free -= 1
    return started


def _fits(work: Work, item: Ready) -> bool:
    again = item.trial > 0 and item.attempt > 1
    again = again and work.store.trial(item.node, item.trial).state is TrialState.ACTIVE
    return fits(work, item.kind, again=again)


def give_up(work: Work, ready: list[Ready]) -> bool:
    """End all open trials when nothing runs and no job that is ready fits under the caps: none ever will.

    The sealed test is not given up: the search pauses until it has more budget. Return whether it was so.
    """
    if not ready or work.store.live_attempts() or any(_fits(work, item) for item in ready):
        return False
    message = REACHED + too_small(work, ready[0].kind)
    if any(item.kind is JobKind.TEST for item in ready):
        work.change_state(SearchState.PAUSED, f"{message}; resume with a larger cap to have the sealed test")
        return True
    for trial in work.store.trials(TrialState.PLANNED, TrialState.ACTIVE):
        work.record(trial_cancelled(trial, message))
        work.say(f"node {trial.node} trial {trial.trial}: given up, {message}")
    if not work.store.state()[1].startswith(REACHED):
        work.change_state(SearchState.FINISHING, message)
    return True


def _resubmit(work: Work) -> int:
    """Submit the intents that the scheduler does not know, twice confirmed."""
    started = 0
    for attempt in work.store.live_attempts():
        if attempt.state is AttemptState.INTENT and work.suspects.get(attempt.token, 0) >= AGREEING_LOOKS:
            work.suspects.pop(attempt.token)
            if _has_grown(work, attempt):
                work.record(_never_submitted(attempt))
                continue
            item = Ready(attempt.node, attempt.trial, attempt.kind, attempt.attempt, _micro_batch(work, attempt))
            started += _hand_over(work, item, attempt.token)
    return started


def _has_grown(work: Work, attempt: AttemptView) -> bool:
    """Tell whether the profile, changed since, would ask for more than was reserved for the intent."""
    now = worst(resources_of(work, attempt.kind))
    hours = attempt.minutes / 60
    return now.gpu > attempt.gpus * hours or (attempt.cpus > 0 and now.cpu > attempt.cpus * hours)


def _never_submitted(attempt: AttemptView) -> AttemptEnded:
    message = "never submitted: the profile was changed before the scheduler had the job"
    return AttemptEnded(token=attempt.token, succeeded=False, failure=FailureClass.LOST, message=message)


def _micro_batch(work: Work, attempt: AttemptView) -> int | None:
    return work.store.trial(attempt.node, attempt.trial).micro_batch_size if attempt.trial else None


def _start(work: Work, item: Ready) -> int:
    token = f"{work.config.uid}-n{item.node}-t{item.trial}-a{item.attempt}"
    paths = work.paths.attempt(item.node, item.trial, item.attempt)
    paths.root.mkdir(parents=True, exist_ok=True)
    resources = resources_of(work, item.kind)
    if item.trial and item.attempt > 1 and work.store.trial(item.node, item.trial).kind is JobKind.TEST:
        _note_opening(work, item)
    work.record(
        AttemptIntended(
            node=item.node,
            trial=item.trial,
            attempt=item.attempt,
            kind=item.kind,
            token=token,
            directory=str(paths.root.relative_to(work.paths.root)),
            gpus=resources.gpus,
            cpus=cpus(resources),
            minutes=resources.minutes,
            user=user_name(),
            account=work.config.profile.account or "",
            micro_batch_size=item.micro_batch_size,
        )
    )
    return _hand_over(work, item, token)


def _note_opening(work: Work, item: Ready) -> None:
    """Record that a further job is let at the sealed test, since the one before it gave no result."""
    key = (item.node, item.trial, item.attempt)
    if any((one.node, one.trial, one.attempt) == key for one in openings(work.store)):
        return  # a controller that died has done it
    last = work.store.attempts(item.node, item.trial)[-1]
    why = f"attempt {item.attempt}: the one before gave no result ({(last.failure or FailureClass.LOST).value})"
    if last.state is AttemptState.SUCCEEDED:
        why = "the scoring of its answers"
    opened = TestOpened(node=item.node, trial=item.trial, attempt=item.attempt, why=why, user=user_name())
    work.record(opened.model_copy(update={"host": socket.gethostname()}))


def _hand_over(work: Work, item: Ready, token: str) -> int:
    """Give one intended job to the scheduler; return 1 when it has it."""
    paths = work.paths.attempt(item.node, item.trial, item.attempt)
    write_record(paths.spec, job_spec(work, item, token))
    resources = resources_of(work, item.kind)
    request = JobRequest(token, paths.root, paths.spec, item.kind, resources, folders_of(work))
    reach("submit/before", token)
    try:
        job_id = _scheduler(work, item.kind).submit(request)
    except SubmitUnavailable as error:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(work.submit_failures, MOST_DOUBLINGS))
        work.submit_failures += 1
        work.not_before = time.monotonic() + pause
        work.note(f"{TAKES_NO_JOBS} ({error.message}); next try in {pause:.0f} s", item.node)
        return 0
    except SubmitRefused as error:
        work.change_state(SearchState.PAUSED, f"the scheduler refused a job: {error.message}")
        raise ClusterRefused(
            error.message, hint=error.hint or f"correct the profile, then: hpc-trex resume {work.paths.root}"
        ) from error
    reach("submit/after", token)
    work.submit_failures = 0
    work.record(AttemptQueued(token=token, job_id=job_id))
    number = job_id.partition(":")[0]  # what follows in a local id tells a process from a later one of its number
    again = f", attempt {item.attempt}" if item.attempt > 1 else ""
    work.say(f"node {item.node} {_what(item)}: job {number}{again}")
    return 1


def _scheduler(work: Work, kind: JobKind) -> Scheduler:
    """Return what starts a job of this kind: scoring may have an environment of its own. All are polled alike."""
    profile = work.config.profile
    if kind is not JobKind.SCORE or profile.of_scoring == profile:
        return work.scheduler
    return make_scheduler(profile.of_scoring)


def _what(item: Ready) -> str:
    names = {
        JobKind.BASE: "base model",
        JobKind.PREPARE: "data",
        JobKind.BASELINE: "baseline evaluation",
        JobKind.TEST: "sealed test",
        JobKind.SCORE: f"scoring of trial {item.trial}",
    }
    return names.get(item.kind, f"trial {item.trial}")
