"""Steps 3 and 4 of a tick: choose a round to expand, have the next one designed, and add it to the tree."""

from __future__ import annotations

from textwrap import shorten

from hpc_trex.agents.protocol import AwaitsApproval, NothingToPropose, StillThinking
from hpc_trex.agents.reviewer import review
from hpc_trex.controller import budget, gates
from hpc_trex.controller.context import Work
from hpc_trex.errors import BudgetReached, TrexError
from hpc_trex.files import write_record
from hpc_trex.models import (
    DataRecipe,
    GateName,
    JobKind,
    NodeState,
    RoundPlan,
    SearchState,
    TrialPlan,
    trial_identity,
)
from hpc_trex.tree.events import NodeAdded, TrialAdded
from hpc_trex.tree.gates import last_gate, rejections
from hpc_trex.tree.policies import POLICIES

#: Characters of a hypothesis in a line for a person; ``hpc-trex show`` has the whole.
LINE = 150
#: Proposals for one parent before another parent is tried.
PROPOSALS = 3


def design(work: Work, ready: int) -> int:
    """Add rounds until the free slots have work; return how many were added.

    ``ready`` is the number of jobs that could be submitted now. A search that has all its rounds, or reached a cap,
    goes on to its end.
    """
    if work.store.state()[0] is not SearchState.RUNNING:
        return 0
    added = 0
    while len(work.store.live_attempts()) + ready + added < work.config.parallel:
        if _no_more_rounds(work) or not budget.fits(work, JobKind.TRAIN, beside=ready + added):
            break
        if not _add_round(work):
            break
        added += 1
    return added


def why_no_more(work: Work) -> str:
    """Return why no further round may be designed, empty when one may: the rounds are used up, or a cap is reached."""
    rounds = work.store.next_node() - 1
    if rounds >= work.config.budget.max_nodes:
        return f"all {rounds} rounds are designed"
    cap = budget.reached(work)
    return f"{budget.REACHED}{cap}" if cap else ""


def _no_more_rounds(work: Work) -> bool:
    """Begin to finish when no further round may be designed."""
    why = why_no_more(work)
    if why:
        work.change_state(SearchState.FINISHING, why)
    return bool(why)


def _add_round(work: Work) -> bool:
    """Design one round from the node that the policy picks; return False when there is none to be had now, be it that
    a person must decide first.
    """
    if not gates.may_design(work):
        return False
    agreed = gates.agreed(work)
    if agreed is not None and agreed.plan is not None and agreed.parent is not None:
        return _goes_on(work, agreed.parent, agreed.plan, agreed.gate)
    try:
        return _designed(work)
    except StillThinking:
        return False
    except BudgetReached as error:
        work.change_state(SearchState.FINISHING, f"{budget.REACHED}{error.message}")
    except TrexError as error:
        _cannot_design(work, error)
    return False


def _designed(work: Work) -> bool:
    policy = POLICIES[work.config.policy.name]
    barren: set[int] = set()
    rng = work.rng("select")
    # What was begun is brought to its end, whatever came in meanwhile: it may be paid for already.
    begun = parent = work.researcher.begun(work.view)
    while True:
        if parent is None:
            parent = policy.select(work.store.stats(), work.config.policy, rng, frozenset(barren))
        if parent is None:
            break
        try:
            plan = _accepted_plan(work, parent)
        except AwaitsApproval as question:
            gates.ask(work, "strategy", parent, question.text, question.plan)
            return False
        if plan is not None:
            return _goes_on(work, parent, plan, None)
        barren.add(parent)
        if begun is not None and rejections(work.store, work.store.next_node()):
            break  # what it has begun with one parent it cannot end with another
        parent = None
    if barren and not work.store.node_ids(NodeState.PENDING):
        _no_idea(work)
    return False


def _goes_on(work: Work, parent: int, plan: RoundPlan, passed: GateName | None) -> bool:
    """Bring a plan that has passed a gate to the next one, or into the tree; return whether it is there."""
    gate = gates.next_gate(work, passed)
    if gate is not None:
        gates.ask(work, gate, parent, gates.plan_text(gate, plan), plan)
        return False
    add_node(work, parent, plan)
    return True


def _no_idea(work: Work) -> None:
    """End the search because nothing is left to propose; pause it where that is so because a person rejected it."""
    node = work.store.next_node()
    rejected = rejections(work.store, node)
    if not rejected:
        work.change_state(SearchState.FINISHING, "the Researcher has no further idea for any round")
    elif not work.store.live_attempts():
        last = last_gate(work.store, node)
        why = f", the last one: {last.note}" if last is not None and last.note else ""
        work.change_state(SearchState.PAUSED, f"a person has rejected {rejected} proposal(s) for node {node}{why}")


def _cannot_design(work: Work, error: TrexError) -> None:
    """Go on without new rounds while jobs run; when none does any more, pause, and charge no round for it.

    Raises the error then: it says what a person must mend.
    """
    if work.store.live_attempts():
        if work.trouble != error.message:
            work.trouble = error.message
            work.note(f"no round can be designed now: {error.message}")
        return
    error.message = f"no round can be designed: {error.message}"
    error.hint = f"{error.hint}; then: hpc-trex resume {work.config.name}" if error.hint else ""
    work.change_state(SearchState.PAUSED, error.message)
    raise error


def _accepted_plan(work: Work, parent: int) -> RoundPlan | None:
    """Return a plan that the Reviewer accepts and that is not known yet; None when the Researcher has none.

    What a person has rejected counts as proposed.
    """
    for number in range(rejections(work.store, work.store.next_node(), parent), PROPOSALS):
        seed = work.rng(f"propose/{parent}/{number}").getrandbits(32)
        try:
            plan = work.researcher.propose(work.view, parent, seed=seed)
        except NothingToPropose:
            return None
        refusals = review(plan, work.view)  # first: only a valid plan has an identity
        if not refusals and not work.view.is_known(plan):
            return plan
        proposal = (work.store.next_node(), parent, number)
        if refusals and proposal not in work.refused:
            work.refused.add(proposal)
            work.note(f"the Reviewer refused a plan of {work.researcher.name}: {'; '.join(refusals)}", parent)
    return None


def add_node(work: Work, parent: int, plan: RoundPlan) -> int:
    """Record a new round with its trials and write its ``plan.json``; return its number."""
    node = work.store.next_node()
    recipe = plan.data.set_digest()
    earlier = work.store.find_recipe(recipe)
    work.record(
        NodeAdded(
            node=node,
            parent=parent,
            plan=plan,
            recipe_digest=recipe,
            data_from=node if earlier is None else earlier,
        )
    )
    for number, trial in enumerate(plan.trials, 1):
        work.record(planned_trial(work, node, number, plan.data, trial))
    write_plan(work, node, plan)
    work.say(f"node {node} from node {parent}: {shorten(plan.hypothesis, LINE, placeholder=' ...')}")
    return node


def write_plan(work: Work, node: int, plan: RoundPlan) -> None:
    """Write a round's plan for people and other programs; the log has it already."""
    work.paths.node(node).mkdir(parents=True, exist_ok=True)
    write_record(work.paths.plan(node), plan)


def planned_trial(work: Work, node: int, number: int, data: DataRecipe, plan: TrialPlan) -> TrialAdded:
    """Return the event of a planned trial; it takes over the result of the same experiment where there is one."""
    base, task = work.store.digests()
    identity = trial_identity(data, plan, base=base, task=task)
    same = work.store.find_identity(identity)
    return TrialAdded(
        node=node,
        trial=number,
        kind=JobKind.TRAIN,
        plan=plan,
        seed=work.config.seed,
        identity=identity,
        reused_from=(same.node, same.trial) if same is not None else None,
    )
