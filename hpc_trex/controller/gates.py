"""The gates of ``launch --approve``: what waits for a person, and what follows from the answer.

All of it stands in the tree before anything depends on it: a controller that died neither loses a question, nor asks it
twice, nor proposes anew what was approved.
"""

from __future__ import annotations

from hpc_trex.controller.context import Work
from hpc_trex.controller.requests import Request
from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.files import user_name
from hpc_trex.models import GateName, GateView, NodeState, RoundPlan, SearchState
from hpc_trex.models.operators import Python
from hpc_trex.report.difference import describe_recipe, telling
from hpc_trex.report.gates import waits_words
from hpc_trex.tree.events import GateAsked, GateDecided
from hpc_trex.tree.gates import gates, last_gate, open_gate, plan_identity


def may_design(work: Work) -> bool:
    """Tell whether a round may be designed now: nothing waits for a person, and the brief was approved if it had to be."""
    if not work.config.approve:
        return True
    if open_gate(work.store) is not None:
        return False
    return "requirements" not in work.config.approve or _brief_stands(work)


def _brief_stands(work: Work) -> bool:
    """Tell whether a person has approved what was read from the baseline; ask where nobody has been asked."""
    last = last_gate(work.store, 0)
    if last is not None and last.approved:
        return True
    root = work.store.node(0)
    if root.state is not NodeState.DONE:
        return False
    if not root.report:
        return work.researcher.listens  # it waits for its own reading, or says why it cannot read
    if last is not None and last.counts and not work.researcher.listens:
        pause_for_brief(work, last.note)  # the controller died before it did
    else:
        ask(work, "requirements", None, root.report)
    return False


def pause_for_brief(work: Work, note: str) -> None:
    """Pause because of a rejected brief that nobody can write anew."""
    why = f": {note}" if note else ""
    work.change_state(SearchState.PAUSED, f"a person has rejected what was read from the baseline{why}")


def agreed(work: Work) -> GateView | None:
    """Return the last answer about the next round where it approves a plan; that plan is not proposed anew."""
    last = last_gate(work.store, work.store.next_node()) if work.config.approve else None
    return last if last is not None and last.approved and last.plan is not None else None


def next_gate(work: Work, passed: GateName | None) -> GateName | None:
    """Return the gate that a proposed plan comes to after ``passed``; None where it may run."""
    wanted = work.config.approve
    if passed is None and "strategy" in wanted and not work.researcher.listens:
        return "strategy"
    return "data" if passed != "data" and "data" in wanted else None


def ask(work: Work, gate: GateName, parent: int | None, text: str, plan: RoundPlan | None = None) -> None:
    """Record what a person is to judge, and say that the search waits."""
    node = 0 if gate == "requirements" else work.store.next_node()
    number = 1 + sum(1 for view in gates(work.store, node) if view.gate == gate)
    identity = plan_identity(work.store, plan) if plan else ""
    work.record(GateAsked(node=node, gate=gate, number=number, parent=parent, text=text, plan=plan, identity=identity))
    work.say(f"waits for you: {gate} of node {node}: hpc-trex approve {node}")


def plan_text(gate: GateName, plan: RoundPlan) -> str:
    """Return what a person judges of a plan: its claim, and at the gate ``data`` its recipe and trials too."""
    lines = [plan.hypothesis, *([f"Expected: {plan.expected_effect}"] if plan.expected_effect else [])]
    if gate == "data":
        lines += ["Data recipe:", *(f"  {step}" for step in describe_recipe(plan.data))]
        for step in plan.data.resolved().steps:
            if isinstance(step, Python):
                lines += ["Code:", *(f"  {line}" for line in step.code.splitlines())]
        for number, trial in enumerate(plan.trials, 1):
            settings = ", ".join(f"{name} {value}" for name, value in telling(trial.train).items())
            if trial.mixture:
                settings += "; mixture " + ", ".join(
                    f"{name} {weight:g}" for name, weight in sorted(trial.mixture.items())
                )
            lines.append(f"Trial {number}{f' ({trial.label})' if trial.label else ''}: {settings}")
    return "\n".join(lines)


def waiting_gate(view: GateView | None, node: int) -> GateView:
    """Return what waits at a round. Raises NotFound where nothing does."""
    if view is None:
        raise NotFound("nothing waits for a person in this search", hint="hpc-trex status says what it does")
    if view.node != node:
        raise NotFound(f"nothing waits for a person at node {node}", hint=f"what waits is {waits_words(view)}")
    return view


def decide(work: Work, request: Request) -> None:
    """Record a person's answer. Raises UsageProblem for a question that has another answer already."""
    view = next((one for one in gates(work.store, request.node) if _is_meant(one, request)), None)
    if view is None:
        raise NotFound(f"nothing waits for a person at node {request.node}", hint="hpc-trex status")
    approved = request.action == "approve"
    said = "approved" if approved else "rejected"
    if view.approved is None:
        work.record(
            GateDecided(
                node=view.node,
                gate=view.gate,
                number=view.number,
                approved=approved,
                note=request.note,
                user=request.user or user_name(),
            )
        )
        work.say(f"{view.gate} of node {view.node} {said}" + (f": {request.note}" if request.note else ""))
    elif (view.approved, view.note) != (approved, request.note):  # else a controller that died has recorded it
        raise UsageProblem(f"{view.gate} of node {view.node} was {'approved' if view.approved else 'rejected'} before")
    if view.gate == "requirements" and not approved and view.approved is None and _nobody_writes_anew(work):
        pause_for_brief(work, request.note)


def _nobody_writes_anew(work: Work) -> bool:
    return not work.researcher.listens and work.store.state()[0] is SearchState.RUNNING


def _is_meant(view: GateView, request: Request) -> bool:
    return (view.gate, view.number) == (request.gate, request.number)
