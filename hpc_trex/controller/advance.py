"""Step 2 of a tick: what follows from ended attempts. Idempotent: derived from the records alone, each time anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hpc_trex.agents.executor import may_repair
from hpc_trex.controller.asking import answered
from hpc_trex.controller.best import best_trial
from hpc_trex.controller.context import Work
from hpc_trex.controller.repairs import Then, after_failure, follow
from hpc_trex.controller.review import check_claims, end_struck, struck_end
from hpc_trex.controller.scoring import unscored, whole_result
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.models import (
    FATES,
    LIVE,
    AttemptState,
    AttemptView,
    FailureClass,
    JobKind,
    NodeState,
    NodeView,
    SearchState,
    TrialState,
    TrialView,
)
from hpc_trex.tree.events import NodeEnded, TrialAdded, TrialEnded

#: Attempts of one trial at most, whatever its progress.
MAX_ATTEMPTS = 20
#: Attempts in a row without a further checkpoint that are borne where the infrastructure is to blame.
IDLE_ATTEMPTS = 3


class Ready(NamedTuple):
    """A job that can be submitted now. Trial 0 is the preparation of the node."""

    node: int
    trial: int
    kind: JobKind
    attempt: int
    micro_batch_size: int | None = None


def advance(work: Work) -> list[Ready]:
    """Settle what is settled and return the jobs that are ready, preparations and the oldest rounds first."""
    ready: list[Ready] = []
    for node in work.store.node_ids(NodeState.PENDING):
        ready.extend(_advance_node(work, node))
    pending = set(work.store.node_ids(NodeState.PENDING))
    for trial in work.store.trials(TrialState.PLANNED, TrialState.ACTIVE):
        if trial.node not in pending:  # repeats and the sealed test of a finished round
            ready.extend(_advance_trial(work, trial, prepared=True))
    # Two rounds may wait for one preparation: each of them asks for it.
    return sorted(set(ready), key=lambda item: (item.kind is not JobKind.TEST, item.node, item.trial))


def _advance_node(work: Work, node: int) -> Iterator[Ready]:
    view = work.store.node(node)
    _add_missing_trials(work, view)
    prepared, wanted = _preparation(work, view)
    if wanted is not None:
        yield wanted
    view = work.store.node(node)
    if view.state is not NodeState.PENDING:
        return
    for trial in view.trials:
        yield from _advance_trial(work, trial, prepared=prepared)
    _end_node_if_over(work, node)


def _add_missing_trials(work: Work, view: NodeView) -> None:
    """Add the trials of a plan, and its file, that a controller did not live to add."""
    from hpc_trex.controller.design import planned_trial, write_plan

    if view.plan is None:
        if not view.trials:
            work.record(TrialAdded(node=view.id, trial=1, kind=JobKind.BASELINE, seed=work.config.seed))
        return
    present = {trial.trial for trial in view.trials}
    for number, plan in enumerate(view.plan.trials, 1):
        if number not in present:
            work.record(planned_trial(work, view.id, number, view.plan.data, plan))
    if not work.paths.plan(view.id).exists():
        write_plan(work, view.id, view.plan)


def _preparation(work: Work, view: NodeView) -> tuple[bool, Ready | None]:
    """Tell whether the round's data (the root's base model) are there; else return the job that makes them."""
    if view.id == 0 and work.config.model_path:
        return True, None
    owner = view.id if view.data_from is None else view.data_from
    if owner != view.id and follow(work, view, work.store.node(owner)):
        return _preparation(work, work.store.node(view.id))
    last = work.store.preparation(owner)
    if last is not None and last.state is AttemptState.SUCCEEDED:
        return True, None
    if last is not None and last.state in LIVE:
        return False, None
    if owner != view.id and work.store.node(owner).state is NodeState.PENDING:
        return False, None  # the owner's own turn submits it, or ends this round with it
    if last is not None and last.failure is FailureClass.ASKS and not last.superseded:
        return False, _after_asking(work, view, owner, last)
    again = last is None or last.superseded or _was_another_rounds(view, owner, last)
    if not again and last is not None and last.failure is not None and may_repair(last.failure):
        then = after_failure(work, view, None, last) if owner == view.id else Then.OVER
        if then is Then.WAIT:
            return False, None
        repaired = work.store.node(view.id)
        if then is Then.AGAIN and repaired.data_from != owner:
            return _preparation(work, repaired)
        again = then is Then.AGAIN
        if not again:
            _fail_round(work, view, last)
            return False, None
    if again or last is None or _may_retry(work, owner, 0, last):
        kind = JobKind.BASE if view.id == 0 else JobKind.PREPARE
        return False, Ready(owner, 0, kind, len(work.store.attempts(owner, 0)) + 1)
    _fail_round(work, view, last)
    return False, None


def _after_asking(work: Work, view: NodeView, owner: int, last: AttemptView) -> Ready | None:
    """Return the job that goes on with the model's answers to the last one's questions, once they are there."""
    then, why = answered(work, owner, last) if last.attempt < MAX_ATTEMPTS else (Then.OVER, "it asks without end")
    if then is Then.AGAIN:
        return Ready(owner, 0, JobKind.PREPARE, last.attempt + 1)
    if then is Then.OVER:
        _fail_round(work, view, last, why)
    return None


def _was_another_rounds(view: NodeView, owner: int, last: AttemptView) -> bool:
    """Tell whether the data are missing only because the round that was to prepare them was cancelled."""
    return owner != view.id and last.failure is FailureClass.CANCELLED and last.attempt < MAX_ATTEMPTS


def _fail_round(work: Work, view: NodeView, last: AttemptView, why: str = "") -> None:
    """End a round whose preparation failed for good, and all its trials; for the reason of its last job, or another."""
    failure = last.failure or FailureClass.LOST
    for trial in view.trials:
        if trial.state in (TrialState.PLANNED, TrialState.ACTIVE):
            _end_trial_failed(work, trial, failure, f"preparation failed: {why or last.message}")
    _end_node_if_over(work, view.id)


def _advance_trial(work: Work, trial: TrialView, *, prepared: bool) -> Iterator[Ready]:
    if trial.state not in (TrialState.PLANNED, TrialState.ACTIVE):
        return
    if trial.reused_from is not None:
        source = work.store.trial(*trial.reused_from)
        # One that was cancelled or struck gives nothing: then this trial runs itself.
        if source.state is not TrialState.CANCELLED and not source.struck:
            _take_over(work, trial, source)
            return
    attempts = work.store.attempts(trial.node, trial.trial)
    last = attempts[-1] if attempts else None
    if last is None or last.superseded:
        if prepared:
            yield Ready(trial.node, trial.trial, trial.kind, len(attempts) + 1, trial.micro_batch_size)
        return
    if last.state in LIVE:
        return
    if last.state is AttemptState.SUCCEEDED:
        if unscored(work, last):
            yield Ready(trial.node, trial.trial, JobKind.SCORE, len(attempts) + 1)
        else:
            _end_trial_done(work, trial, attempts)
        return
    yield from _after_failure(work, trial, last)


def _after_failure(work: Work, trial: TrialView, last: AttemptView) -> Iterator[Ready]:
    """Return the job that follows a failed one of a trial: after a repair, or as it was; or end the trial."""
    # Scoring has nothing that an agent could repair: it is the task's.
    kind = JobKind.SCORE if last.kind is JobKind.SCORE else trial.kind
    if kind is not JobKind.SCORE and last.failure is not None and may_repair(last.failure):
        then = after_failure(work, work.store.node(trial.node), trial, last)
        if then is Then.WAIT:
            return
        trial = work.store.trial(trial.node, trial.trial)
        if then is Then.AGAIN and trial.reused_from is not None:
            return  # it is the same as an earlier experiment now
        again = then is Then.AGAIN
    else:
        again = _may_retry(work, trial.node, trial.trial, last)
    if not again:
        _end_trial_failed(work, trial, last.failure or FailureClass.LOST, last.message)
        return
    yield Ready(trial.node, trial.trial, kind, last.attempt + 1, trial.micro_batch_size)


def _may_retry(work: Work, node: int, trial: int, last: AttemptView) -> bool:
    """Tell whether another attempt follows (DESIGN section 7); an environment that stays broken stops the search."""
    failure = last.failure or FailureClass.LOST
    attempts = [attempt for attempt in work.store.attempts(node, trial) if not attempt.superseded]
    if failure is FailureClass.ENVIRONMENT:
        return _environment_retry(work, node, trial, last)
    if len(attempts) >= MAX_ATTEMPTS:
        return False
    fate = FATES[failure]
    if fate.retries >= 0:
        return sum(1 for attempt in attempts if attempt.failure is failure) <= fate.retries
    if failure is FailureClass.TIMEOUT:
        return _idle(attempts) == 0
    return _idle(attempts) < IDLE_ATTEMPTS


def _idle(attempts: list[AttemptView]) -> int:
    """Return how many attempts at the end of the chain got no further than those before them."""
    best, idle = 0, 0
    for attempt in attempts:
        idle = 0 if attempt.progress_step > best else idle + 1
        best = max(best, attempt.progress_step)
    return idle


def _environment_retry(work: Work, node: int, trial: int, last: AttemptView) -> bool:
    # Asked several times in each pass: what counts are the attempts, not the questions.
    seen = work.outages.setdefault((node, trial), set())
    seen.add(last.attempt)
    if len(seen) > FATES[FailureClass.ENVIRONMENT].retries:
        work.outages.pop((node, trial))
        work.change_state(SearchState.PAUSED, f"the environment failed: {last.message}")
        raise EnvironmentProblem(
            f"job {last.token} failed {len(seen)} times because of its environment: {last.message}",
            hint=f"correct it, then: hpc-trex resume {work.paths.root}",
        )
    return True


def _end_trial_done(work: Work, trial: TrialView, attempts: list[AttemptView]) -> None:
    result = whole_result(work, attempts)
    if result is None:
        # The file was read once (the attempt is recorded as succeeded) and is gone since.
        _end_trial_failed(work, trial, FailureClass.LOST, "its result file was removed")
        return
    main = result.scores.get("main") or result.scores.get("chosen")
    work.record(
        TrialEnded(
            node=trial.node,
            trial=trial.trial,
            state=TrialState.DONE,
            score=main.value if main else None,
            result=result.model_copy(update={"curve": (), "data_manifest": None}),
        )
    )
    if main is not None and trial.kind is not JobKind.TEST:
        interval = f"[{main.low:.3f}, {main.high:.3f}]"
        work.say(f"node {trial.node} trial {trial.trial}: {main.metric} {main.value:.3f} {interval}{_label(trial)}")


def _label(trial: TrialView) -> str:
    if trial.replicate_of is not None:
        return f" (repeat of trial {trial.replicate_of}, seed {trial.seed})"
    return f" ({trial.plan.label})" if trial.plan and trial.plan.label else ""


def _end_trial_failed(work: Work, trial: TrialView, failure: FailureClass, message: str) -> None:
    state = TrialState.CANCELLED if failure is FailureClass.CANCELLED else TrialState.FAILED
    work.record(TrialEnded(node=trial.node, trial=trial.trial, state=state, failure=failure, message=message))
    work.say(f"node {trial.node} trial {trial.trial}: {failure.value} {message.splitlines()[0] if message else ''}")


def _take_over(work: Work, trial: TrialView, source: TrialView) -> None:
    """End a trial that is the same experiment as an earlier one, once that one is over."""
    if source.state is TrialState.DONE:
        work.record(
            TrialEnded(
                node=trial.node, trial=trial.trial, state=TrialState.DONE, score=source.score, result=source.result
            )
        )
        work.say(f"node {trial.node} trial {trial.trial}: same as node {source.node} trial {source.trial}")
    elif source.state is TrialState.FAILED:
        _end_trial_failed(work, trial, source.failure or FailureClass.LOST, f"same as node {source.node}")


def _end_node_if_over(work: Work, node: int) -> None:
    view = work.store.node(node)
    planned = [trial for trial in view.trials if trial.kind is not JobKind.TEST and trial.replicate_of is None]
    open_states = (TrialState.PLANNED, TrialState.ACTIVE)
    if not planned or any(trial.state in open_states for trial in view.trials) or view.state is not NodeState.PENDING:
        return
    check_claims(work, node)
    view = work.store.node(node)
    planned = [trial for trial in view.trials if trial.kind is not JobKind.TEST and trial.replicate_of is None]
    best = best_trial(view, higher=work.card.metric.higher_is_better)
    if best is not None:
        work.struck = 0
        work.record(NodeEnded(node=node, state=NodeState.DONE, score=best[1], best_trial=best[0]))
        return
    struck = struck_end(view)
    if struck is not None:
        end_struck(work, struck)
        return
    failures = [trial.failure for trial in planned if trial.failure is not None]
    charged = [failure for failure in failures if FATES[failure].charged]
    failure = (charged or failures or [FailureClass.LOST])[0]
    cancelled = bool(failures) and all(item is FailureClass.CANCELLED for item in failures)
    messages = [trial.message for trial in planned if trial.failure is failure] or [planned[0].message]
    work.record(
        NodeEnded(
            node=node,
            state=NodeState.CANCELLED if cancelled else NodeState.FAILED,
            failure=failure,
            charged=bool(charged),
            message=messages[0],
        )
    )
