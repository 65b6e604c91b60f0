"""What follows from a job that failed by its own settings or recipe: a change by rule, a model's, or the end.

Each decision is an event before the next job is asked for. So a controller that died neither repairs twice nor asks its
model again, and all that is decided here follows from the tree alone.
"""

from __future__ import annotations

from enum import Enum

from hpc_trex.agents.executor import by_rule, change_words, effective, may_repair
from hpc_trex.agents.mending import Failed, GivesUp, Repaired
from hpc_trex.agents.protocol import NothingToPropose, StillThinking
from hpc_trex.agents.reviewer import review
from hpc_trex.controller.collect import log_tail
from hpc_trex.controller.context import Work
from hpc_trex.errors import BudgetReached, TrexError
from hpc_trex.models import (
    FATES,
    AttemptView,
    FailureClass,
    JobKind,
    NodeView,
    RoundPlan,
    SearchState,
    TrialState,
    TrialView,
    trial_identity,
)
from hpc_trex.models.repair import RepairedTrial, RepairView
from hpc_trex.tree.repairs import RepairDecided, repairs

#: The end of a failed job's output that a model is shown, in characters.
LOG_CHARS = 4000


class Then(Enum):
    """What follows."""

    AGAIN = "another attempt"
    WAIT = "an answer is on its way"
    OVER = "nothing"


def after_failure(work: Work, node: NodeView, trial: TrialView | None, last: AttemptView) -> Then:
    """Decide what follows from the last attempt of a trial, or (None) of a round's preparation."""
    failure, plan = last.failure, node.plan
    kind = last.kind in (JobKind.TRAIN, JobKind.PREPARE)
    if failure is None or plan is None or not kind or not may_repair(failure):
        return Then.OVER
    known = repairs(work.store, node.id)
    number = trial.trial if trial is not None else 0
    of_trial = [one for one in known if one.trial == number]
    if any(one.attempt == last.attempt and one.outcome == "repaired" for one in of_trial):
        return Then.AGAIN
    failed = Failed(
        node.id,
        number,
        len(of_trial) + 1,
        failure,
        last.message,
        plan,
        train=effective(trial) if trial is not None else None,
        earlier=tuple(_words(one) for one in known),
    )
    change = _by_rule(work, failed, of_trial)
    if change is not None and _keeps(work, trial, change):
        _record(work, failed, last, "rule", change)
        return Then.AGAIN
    return _by_model(work, failed, trial, last, known)


def follow(work: Work, node: NodeView, owner: NodeView) -> bool:
    """Give a round the repaired recipe of the round whose data it uses; return whether there was anything to do."""
    if node.plan is None or owner.plan is None or node.plan.data.resolved() == owner.plan.data.resolved():
        return False
    number = 1 + sum(1 for one in repairs(work.store, node.id) if one.trial == 0)
    failed = Failed(node.id, 0, number, FailureClass.DATA, "", node.plan)
    change = Repaired(f"as node {owner.id}, whose data it uses", plan=_with_data(node.plan, owner.plan))
    _record(work, failed, None, "rule", change, data_from=owner.id if owner.data_from is None else owner.data_from)
    return True


def _with_data(plan: RoundPlan, other: RoundPlan) -> RoundPlan:
    return plan.model_copy(update={"data": other.data})


def _by_rule(work: Work, failed: Failed, of_trial: list[RepairView]) -> Repaired | None:
    done = sum(1 for one in of_trial if one.by == "rule" and one.failure is failed.failure and not one.superseded)
    fate = FATES[failed.failure]
    left = max(fate.repairs, fate.retries) - done
    return by_rule(failed, work.config.profile.train.processes, last=left == 1) if left > 0 else None


def _keeps(work: Work, trial: TrialView | None, change: Repaired) -> bool:
    """Tell whether a change may be made: of a repeat, and of what a person has approved, the experiment stays."""
    if change.plan is None:
        return True
    return "data" not in work.config.approve and (trial is None or trial.replicate_of is None)


def _by_model(work: Work, failed: Failed, trial: TrialView | None, last: AttemptView, known: list[RepairView]) -> Then:
    """Ask the Executor's model, as often as the round's bound allows; an answer that is refused counts."""
    asked = sum(1 for one in known if one.by == "model" and not one.superseded)
    left = FATES[failed.failure].repairs - asked
    given_up = any(
        one.attempt == last.attempt and one.trial == failed.trial and one.outcome == "given up" for one in known
    )
    if left <= 0 or given_up or not _keeps(work, trial, Repaired("", plan=failed.plan)):
        return Then.OVER
    if work.mending is not None:  # it could not be asked in this pass
        return Then.WAIT
    paths = work.attempt_paths(last)
    log = (log_tail(paths.stdout) + log_tail(paths.stderr))[-LOG_CHARS:]
    try:
        answer = work.researcher.repair(work.view, failed._replace(left=left, log=log))
    except NothingToPropose:
        return Then.OVER
    except StillThinking:
        return Then.WAIT
    except BudgetReached as error:
        answer = GivesUp(error.message)
    except TrexError as error:
        work.mending, work.wanted = error, "repair"
        return Then.WAIT
    if isinstance(answer, Repaired):
        refusals = review(answer.plan, work.view) if answer.plan is not None else []
        if not refusals:
            _record(work, failed, last, "model", answer)
            return Then.AGAIN
        answer = GivesUp(f"refused: {'; '.join(refusals)}", refused=True)
    _record(work, failed, last, "model", answer)
    return Then.WAIT if answer.refused and left > 1 else Then.OVER  # the next look at the tree asks again


def _record(
    work: Work,
    failed: Failed,
    last: AttemptView | None,
    by: str,
    change: Repaired | GivesUp,
    *,
    data_from: int | None = None,
) -> None:
    event = RepairDecided.model_validate(
        {
            "node": failed.node,
            "trial": failed.trial,
            "number": failed.number,
            "attempt": last.attempt if last is not None else 0,
            "by": by,
            "outcome": "repaired" if isinstance(change, Repaired) else "refused" if change.refused else "given up",
            "failure": failed.failure,
            "reason": change.reason,
        }
    )
    if isinstance(change, Repaired):
        event = event.model_copy(update={"changes": change_words(failed, change), "how": change.how})
        if change.plan is not None:
            event = event.model_copy(update=_consequences(work, failed, change.plan, data_from))
            work.paths.plan(failed.node).unlink(missing_ok=True)  # written anew by whoever looks next
    work.record(event)
    what = f"trial {failed.trial}" if failed.trial else "data"
    said = event.changes or event.reason
    work.say(f"node {failed.node} {what}: {failed.failure.value}, {event.outcome} by {by}: {said}")


def _consequences(work: Work, failed: Failed, plan: RoundPlan, data_from: int | None) -> dict[str, object]:
    """Return what a changed plan makes of the round: identities, and where its data come from (None: to be looked up)."""
    store = work.store
    base, task = store.digests()
    # One that took over the result of an equal experiment is over before the round's data are there, and stays what it is.
    open_states = (TrialState.PLANNED, TrialState.ACTIVE)
    under_way = [one.trial for one in store.node(failed.node).trials if one.state in open_states]
    trials = []
    for number in [failed.trial] if failed.trial else under_way:
        identity = trial_identity(plan.data, plan.trials[number - 1], base=base, task=task)
        same = store.find_identity(identity)
        other = same is not None and (same.node, same.trial) != (failed.node, number)
        reused = (same.node, same.trial) if same is not None and other else None
        trials.append(RepairedTrial(trial=number, identity=identity, reused_from=reused))
    found: dict[str, object] = {"plan": plan, "trials": tuple(trials)}
    if not failed.trial:
        recipe = plan.data.set_digest()
        earlier = store.find_recipe(recipe) if data_from is None else data_from
        found |= {"recipe_digest": recipe, "data_from": failed.node if earlier is None else earlier}
    return found


def _words(one: RepairView) -> str:
    what = f"trial {one.trial}" if one.trial else "the data recipe"
    return f"{what}, after {one.failure.value}: {one.outcome}: {one.changes or one.reason}"


def stuck(work: Work) -> None:
    """Go on while jobs run where the Executor's model cannot be asked; when none does any more, pause and raise why.

    No round is charged for it.
    """
    error, work.mending = work.mending, None
    if error is None:
        return
    if work.store.live_attempts():
        if work.trouble != error.message:
            work.trouble = error.message
            work.note(f"no {work.wanted} can be asked for now: {error.message}")
        return
    error.message = f"no {work.wanted} can be asked for: {error.message}"
    error.hint = "; then: ".join(part for part in (error.hint, f"hpc-trex resume {work.config.name}") if part)
    work.change_state(SearchState.PAUSED, error.message)
    raise error
