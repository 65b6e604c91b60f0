"""Pause, cancel, retry, and a second look at the test: what a person asks of a search, carried out on its open store.

Each can be broken off anywhere and done again from the start: the request stays on disk until all of it is recorded.
"""

from __future__ import annotations

from collections.abc import Collection

from hpc_trex.controller.collect import cancelled, collect, trial_cancelled
from hpc_trex.controller.context import Work
from hpc_trex.controller.finish import open_test
from hpc_trex.controller.requests import Request
from hpc_trex.errors import UsageProblem
from hpc_trex.faults import reach
from hpc_trex.models import AttemptState, AttemptView, FailureClass, JobKind, NodeState, SearchState, TrialState
from hpc_trex.slurm.scheduler import JobRef
from hpc_trex.tree.events import NodeReopened, TrialReopened
from hpc_trex.tree.openings import openings
from hpc_trex.tree.reads import TreeReads

OVER = (SearchState.DONE, SearchState.FAILED, SearchState.CANCELLED)
BY_USER = "cancelled by the user"
PAUSED_BY_USER = "paused by the user"
#: How the note begins that ``gc`` leaves when models were removed: the choice can no longer fall on every round.
MODELS_REMOVED = "gc: models removed"
FAILED_TRIAL = (TrialState.FAILED, TrialState.CANCELLED)
FAILED_NODE = (NodeState.FAILED, NodeState.CANCELLED)


def wanted_nodes(tree: TreeReads, request: Request) -> list[int] | None:
    """Return the rounds that a request is about; None for the whole search. Raises NotFound for an unknown one."""
    if request.node is None:
        return None
    tree.node(request.node)
    return tree.below(request.node) if request.subtree else [request.node]


# --- cancel -----------------------------------------------------------------------------------------------------------


def cancel(work: Work, request: Request) -> None:
    """End the jobs of some rounds, or of the whole search, for good. Raises CancelUnavailable."""
    nodes = wanted_nodes(work.store, request)
    _end_jobs(work, nodes)
    for trial in work.store.trials(TrialState.PLANNED, TrialState.ACTIVE):
        if nodes is None or trial.node in nodes:
            work.record(trial_cancelled(trial, BY_USER))


def _end_jobs(work: Work, nodes: Collection[int] | None) -> list[AttemptView]:
    """End the jobs that live, and record them as cancelled; one whose result lies there already has succeeded."""
    if work.store.live_attempts():
        collect(work)
    attempts = [item for item in work.store.live_attempts() if nodes is None or item.node in nodes]
    refs = [JobRef(item.token, item.job_id, work.paths.root / item.directory) for item in attempts]
    reach("cancel/before")
    work.scheduler.cancel(refs)
    reach("cancel/after")
    for item in attempts:
        work.suspects.pop(item.token, None)
        work.record(cancelled(work, item, BY_USER))
        was = "running" if item.state is AttemptState.RUNNING else "waiting"
        work.say(f"node {item.node} trial {item.trial}: {was} job {item.job_id or item.token} cancelled")
    return attempts


# --- pause ------------------------------------------------------------------------------------------------------------


def pause(work: Work, request: Request) -> None:
    """Start no more jobs until ``resume``; with ``cancel_jobs`` end those that live, to be run again then."""
    if request.cancel_jobs:
        _end_jobs(work, None)
        _plan_again(work)
    if work.store.state()[0] not in (*OVER, SearchState.PAUSED):
        work.change_state(SearchState.PAUSED, PAUSED_BY_USER)


def _plan_again(work: Work) -> None:
    """Let the jobs that a pause has ended run again at the next resume, from their checkpoints, counted anew."""
    for node, trial in _ended_by_pause(work):
        work.record(TrialReopened(node=node, trial=trial))


def _ended_by_pause(work: Work) -> list[tuple[int, int]]:
    found = [(trial.node, trial.trial) for trial in work.store.trials(TrialState.ACTIVE)]
    found += [(node, 0) for node in work.store.node_ids(NodeState.PENDING)]
    return [key for key in found if (last := _last(work, *key)) is not None and _was_cancelled(last)]


def _was_cancelled(last: AttemptView) -> bool:
    return last.failure is FailureClass.CANCELLED and last.message == BY_USER and not last.superseded


def _last(work: Work, node: int, trial: int) -> AttemptView | None:
    attempts = work.store.attempts(node, trial)
    return attempts[-1] if attempts else None


# --- retry ------------------------------------------------------------------------------------------------------------


def why_not_retry(tree: TreeReads, request: Request) -> tuple[str, str]:
    """Return why a round, or one trial of it, cannot be run again, and what to do instead; empty when it can."""
    assert request.node is not None
    view = tree.node(request.node)
    refusal = _search_refuses(tree, request.node)
    if refusal[0]:
        return refusal
    if view.state is NodeState.DONE:
        return f"node {view.id} is done: its best trial counts", "retry is for rounds that failed or were cancelled"
    if view.state is NodeState.STRUCK:
        return (
            f"node {view.id} has run, and is struck",
            f"hpc-trex show {view.id}; to count it: hpc-trex restore {view.id}",
        )
    if request.trial is not None:
        trial = tree.trial(view.id, request.trial)
        if trial.state not in FAILED_TRIAL:
            return f"node {view.id} trial {trial.trial} is {trial.state.value}", f"hpc-trex show {view.id}"
        return "", ""
    if view.state not in FAILED_NODE:
        return (
            f"node {view.id} is under way ({view.state.value})",
            f"wait, or end it first: hpc-trex cancel {view.id}; one failed trial of it: --trial T",
        )
    return "", ""


def _search_refuses(tree: TreeReads, node: int) -> tuple[str, str]:
    state, _ = tree.state()
    if tree.has_attempt(JobKind.TEST):
        return (
            "the sealed test has been opened: this search takes no further result",
            "hpc-trex launch starts a new one",
        )
    if tree.chosen() is not None:
        return "the final choice has been made: a further result could not change it", "hpc-trex best"
    if node != 0 and tree.node(0).state is not NodeState.DONE:
        return "the baseline has no score: nothing can be compared with it", "hpc-trex retry 0"
    if state in OVER and any(text.startswith(MODELS_REMOVED) for _, text, _ in tree.notes()):
        return "gc has removed models that the final choice might need", "hpc-trex launch starts a new one"
    return "", ""


def retry(work: Work, request: Request) -> None:
    """Open a failed or cancelled round, or one trial of it, again; its attempts are counted anew.

    Raises UsageProblem for one that is done or runs. The search, if it is over, goes on.
    """
    assert request.node is not None
    why, hint = why_not_retry(work.store, request)
    if why and not _half_done(work, request):
        raise UsageProblem(why, hint=hint)
    view = work.store.node(request.node)
    if work.store.state()[0] in OVER:
        # First: a search that is over would not be opened again to obey the rest of a request that was broken off.
        work.change_state(SearchState.RUNNING, f"node {view.id} is run again")
    _reopen_preparation(work, view.id if view.data_from is None else view.data_from)
    for trial in view.trials:
        planned = trial.replicate_of is None and trial.kind is not JobKind.TEST
        named = planned if request.trial is None else trial.trial == request.trial
        if named and trial.state in FAILED_TRIAL:
            work.record(TrialReopened(node=view.id, trial=trial.trial))
            work.outages.pop((view.id, trial.trial), None)
            work.say(f"node {view.id} trial {trial.trial} is run again")
    if view.state in FAILED_NODE:
        work.record(NodeReopened(node=view.id))


def _half_done(work: Work, request: Request) -> bool:
    """Tell whether a controller that died has begun with this very request: something is open that only a retry opens."""
    assert request.node is not None
    view = work.store.node(request.node)
    named = [trial for trial in view.trials if request.trial in (None, trial.trial)]
    planned = [trial.trial for trial in named if trial.state is TrialState.PLANNED]
    lasts = [_last(work, view.id, trial) for trial in planned]
    return any(view.state in FAILED_NODE or (last is not None and last.superseded) for last in lasts)


def _reopen_preparation(work: Work, owner: int) -> None:
    last = _last(work, owner, 0)
    if last is not None and last.state is AttemptState.FAILED and not last.superseded:
        work.record(TrialReopened(node=owner, trial=0))
        work.outages.pop((owner, 0), None)


# --- the sealed test, again -------------------------------------------------------------------------------------------


def why_not_open_again(tree: TreeReads) -> tuple[str, str]:
    """Return why the sealed test cannot be opened once more, and what to do instead; empty when it can."""
    state, _ = tree.state()
    if state not in OVER:
        return f"the search is {state.value}: it opens the test itself, at its end", "hpc-trex resume goes on with it"
    if tree.chosen() is None or not tree.has_attempt(JobKind.TEST):
        return "the sealed test was never opened: the search ended before its final choice", "hpc-trex best"
    return "", ""


def open_again(work: Work, request: Request) -> None:
    """Let a further job at the sealed test, for the choice that was made: a person asks for it, and it is on record.

    Raises UsageProblem for a search that runs, or that never opened it.
    """
    if not _half_opened(work, request):
        why, hint = why_not_open_again(work.store)
        if why:
            raise UsageProblem(why, hint=hint)
        chosen = work.store.chosen()
        assert chosen is not None
        open_test(work, chosen, request.note, again=True, user=request.user)
    number = sum(1 for one in openings(work.store) if one.attempt == 1)
    if work.store.state()[0] in OVER:
        work.change_state(SearchState.FINISHING, f"the sealed test was opened again by {request.user}: {request.note}")
    work.say(f"the sealed test is opened for the {number}. time: {request.note}")


def _half_opened(work: Work, request: Request) -> bool:
    """Tell whether a controller that died has recorded this very opening, whose job was not asked for yet."""
    last = next(reversed(openings(work.store)), None)
    if last is None or (last.again, last.why, last.user) != (True, request.note, request.user):
        return False
    return work.store.trial(last.node, last.trial).state is TrialState.PLANNED
