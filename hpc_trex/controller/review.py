"""Step 2 of a tick, before a reward is backed up: claims are held against their records; what a person says of a result.

All of it is derived from the tree anew each time, so that a controller may die between any two events: scores whose
records nobody has looked at, trials that stand on another one's result, rounds whose score does not follow from what is
left of their trials.
"""

from __future__ import annotations

from hpc_trex.agents.claims import check, strikes
from hpc_trex.controller.best import best_trial
from hpc_trex.controller.claims import records_of
from hpc_trex.controller.context import Work
from hpc_trex.controller.remember import remember_search
from hpc_trex.controller.requests import Request
from hpc_trex.errors import EnvironmentProblem, UsageProblem
from hpc_trex.files import user_name
from hpc_trex.models import ClaimFinding, JobKind, NodeState, NodeView, SearchState
from hpc_trex.tree.events import NodeEnded, NodeRescored
from hpc_trex.tree.reads import TreeReads
from hpc_trex.tree.review import reviewed_nodes, taken_over, unread_claims, verdicts
from hpc_trex.tree.review_events import ClaimChecked, NodeRestored, NodeStruck

#: Rounds in a row that are struck without a charge before the search pauses.
STRUCK_IN_A_ROW = 3


def check_claims(work: Work, node: int | None = None) -> None:
    """Look at the records behind every score (of one round) that nobody has looked at. After the final choice no result is
    taken back, so nobody looks any more.
    """
    if work.store.chosen() is not None:
        return
    for one in taken_over(work.store):
        _found(work, one.node, one.trial, _reused(one.source, struck=one.struck))
    for number, trial in unread_claims(work.store):
        if node in (None, number):
            view = work.store.node(number)
            records = records_of(work, view, next(one for one in view.trials if one.trial == trial))
            _found(work, number, trial, tuple(check(records)) if records else ())


def _reused(source: tuple[int, int], *, struck: bool) -> tuple[ClaimFinding, ...]:
    if not struck:
        return ()
    text = f"its result is that of node {source[0]} trial {source[1]}, which is struck"
    return (ClaimFinding(check="reuse", severity="strike", text=text, record=""),)


def _found(work: Work, node: int, trial: int, findings: tuple[ClaimFinding, ...]) -> None:
    work.record(ClaimChecked(node=node, trial=trial, findings=findings))
    if work.store.trial(node, trial).struck:
        for one in strikes(findings):
            work.say(f"node {node} trial {trial} struck: {one.text}")


def struck_end(view: NodeView) -> NodeEnded | None:
    """Return the end of a round whose only results are struck; None where none is. Its design is charged where it is to
    blame for one of them.
    """
    found = [one for trial in view.trials if trial.struck for one in strikes(trial.findings)]
    if not any(trial.struck for trial in view.trials):
        return None
    return NodeEnded(node=view.id, state=NodeState.STRUCK, charged=_is_charged(found), message=_why(found))


def end_struck(work: Work, end: NodeEnded) -> None:
    """Record that a round is struck. Where several in a row are, through no fault of theirs, something is wrong with files
    that all of them share (a base model that was changed, another version on the nodes): raises
    :class:`EnvironmentProblem` and pauses the search before it spends all it has on results that do not count.
    """
    work.record(end)
    work.say(f"node {end.node} is struck: {end.message}")
    work.struck = 0 if end.charged else work.struck + 1
    if work.struck < STRUCK_IN_A_ROW or end.node == 0:
        return
    why = f"{work.struck} rounds in a row were struck, the last one because: {end.message}"
    work.struck = 0
    work.change_state(SearchState.PAUSED, why)
    raise EnvironmentProblem(
        why, hint=f"hpc-trex show {end.node} names the record; then: hpc-trex resume {work.paths.root}"
    )


def _is_charged(found: list[ClaimFinding]) -> bool:
    return any(one.design for one in found)


def _why(found: list[ClaimFinding]) -> str:
    return found[0].text if found else ""


def settle_reviewed(work: Work) -> None:
    """Let the score of each round that has, or had, something struck follow from what is left of it."""
    if work.store.chosen() is not None:
        return
    for number in reviewed_nodes(work.store):
        view = work.store.node(number)
        best = best_trial(view, higher=work.card.metric.higher_is_better)
        if view.state is NodeState.DONE and best is None:
            found = [one for trial in view.trials for one in strikes(trial.findings)]
            work.record(NodeStruck(node=number, charged=_is_charged(found), message=_why(found)))
            work.say(f"node {number} is struck: {_why(found)}")
        elif view.state is NodeState.DONE and best is not None and best != (view.best_trial, view.score):
            work.record(NodeRescored(node=number, score=best[1], best_trial=best[0]))
        elif view.state is NodeState.STRUCK and best is not None:
            work.record(NodeRestored(node=number, score=best[1], best_trial=best[0]))
            work.say(f"node {number} counts again: what it was struck for does not hold any more")


# --- what a person says -----------------------------------------------------------------------------------------------


def why_not_strike(tree: TreeReads, node: int) -> tuple[str, str]:
    """Return why a person cannot strike a round, and what to do instead; empty when it can be done."""
    view = tree.node(node)
    chosen = tree.chosen()
    if node == 0:
        return "node 0 is the baseline, which all is compared with", "end the search: hpc-trex cancel"
    if view.state is NodeState.STRUCK:
        return f"node {node} is struck already", f"hpc-trex show {node}"
    if view.state is not NodeState.DONE:
        return f"node {node} has no result to strike ({view.state.value})", f"hpc-trex show {node}"
    if chosen is not None and chosen.node == node:
        opened = tree.has_attempt(JobKind.TEST)
        what = "the sealed test has been opened for it, which is done once" if opened else "its sealed test comes next"
        return (
            f"the final choice has fallen on node {node}, and {what}: it stays on record as it was made",
            "hpc-trex launch starts a new search",
        )
    return "", ""


def why_not_restore(tree: TreeReads, node: int) -> tuple[str, str]:
    """Return why a person cannot restore a round, and what to do instead; empty when it can be done."""
    view = tree.node(node)
    if view.state is NodeState.PENDING:
        return f"node {node} is under way", f"hpc-trex wait --node {node}"
    if view.state is not NodeState.STRUCK and not any(trial.struck for trial in view.trials):
        return f"nothing of node {node} is struck ({view.state.value})", f"hpc-trex show {node}"
    return "", ""


def strike(work: Work, request: Request) -> None:
    """Take a round out of the tree because a person says so. Raises UsageProblem where that cannot be."""
    assert request.node is not None
    if _is_decided(work, request, struck=True):
        _follow(work)  # the one who recorded it may have died before that
        return
    _refuse(why_not_strike(work.store, request.node))
    user = request.user or user_name()
    message = f"struck by {user}" + (f": {request.note}" if request.note else "")
    work.record(NodeStruck(node=request.node, message=message, note=request.note, user=user))
    work.say(f"node {request.node} is {message}")
    _follow(work)


def restore(work: Work, request: Request) -> None:
    """Let a round count again, whatever was found of it. Raises UsageProblem for one of which nothing is struck."""
    assert request.node is not None
    if _is_decided(work, request, struck=False):
        _follow(work)
        return
    _refuse(why_not_restore(work.store, request.node))
    view = work.store.node(request.node)
    best = best_trial(view, higher=work.card.metric.higher_is_better, claimed=True)
    if best is None:
        raise UsageProblem(f"node {view.id} has no score to restore", hint=f"hpc-trex show {view.id}")
    if view.id == 0 and work.store.state()[0] is SearchState.FAILED:
        # First: a search that is over would not be opened again to obey the rest of a request that was broken off.
        work.change_state(SearchState.RUNNING, "the baseline is restored")
    user = request.user or user_name()
    work.record(NodeRestored(node=view.id, score=best[1], best_trial=best[0], note=request.note, user=user))
    work.say(f"node {view.id} is restored by {user}: score {best[1]:.3f}")
    if work.store.chosen() is not None:
        work.say("the final choice has been made: it stays")
    _follow(work)


def _refuse(why: tuple[str, str]) -> None:
    if why[0]:
        raise UsageProblem(why[0], hint=why[1])


def _is_decided(work: Work, request: Request, *, struck: bool) -> bool:
    """Tell whether a controller that died has recorded this very word."""
    last = verdicts(work.store, request.node)[-1:]
    return any((one.struck, one.note, one.user) == (struck, request.note, request.user) for one in last)


def _follow(work: Work) -> None:
    """Have those follow that stand on the round, and the knowledge base where the search is in it already."""
    check_claims(work)
    settle_reviewed(work)
    if work.store.state()[0] is SearchState.DONE:
        remember_search(work)
