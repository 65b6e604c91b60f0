"""The messages of every question, built from the tree within a token budget.

A request is one system and one user message, since some chat templates take no two user messages in a row. What does
not change during a search stands first (system text, task, operators, training fields), so that a server that caches
prefixes reads it once; what changes stands last, the question at the end. Which parts are left out first when the
budget is small is in ``PRIORITY``; how, in :mod:`hpc_trex.agents.llm.fit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from hpc_trex.agents.llm.facts import operator_part, task_parts, training_part
from hpc_trex.agents.llm.fence import neutral, one_line, paragraph
from hpc_trex.agents.llm.fit import MUST, Part, estimate_tokens, fit, render
from hpc_trex.agents.llm.prompts import Prompt, load_prompt
from hpc_trex.agents.llm.rounds import pending, plan_changes, plan_json, plan_lines, rates, round_entry, standing
from hpc_trex.agents.llm.rows import row_parts
from hpc_trex.agents.moves import load_playbook
from hpc_trex.agents.prior import prior_lines
from hpc_trex.agents.protocol import Sample, TreeView
from hpc_trex.agents.reviewer import near_duplicates
from hpc_trex.models import NodeView, RoundPlan
from hpc_trex.models.cases import CaseReport
from hpc_trex.tree.insights import by_weight

__all__ = [
    "MUST",
    "PRIORITY",
    "Message",
    "Part",
    "brief_messages",
    "design_messages",
    "diagnosis_messages",
    "estimate_tokens",
    "fit",
    "review_messages",
    "revise_messages",
]

Message = dict[str, str]

#: Left out first what stands lowest; everything else is ``MUST``.
PRIORITY = {
    "siblings": 10,
    "key nodes": 20,
    "earlier path": 30,
    "under way": 40,
    "earlier searches": 45,
    "insights": 50,
    "rows": 60,
    "children": 70,
    "rule report": 80,
    "brief": 90,
}

#: Longest text of a claim or report in the parent's entry, and in that of another round, in characters.
PARENT_CHARS = 2000
ROUND_CHARS = 500


def design_messages(
    view: TreeView,
    parent: int,
    *,
    settings_budget: int,
    stage: Literal["direction", "plan"],
    brief: str,
    direction: str | None,
    notes: Sequence[str] = (),
    extra: Sequence[Part] = (),
) -> list[Message]:
    """Return the question for a direction, or for a round plan, of a new child of ``parent``.

    ``notes`` are told as they are (a person's word at a gate, near duplicates); ``extra`` parts stand before the rounds
    of the tree. Raises :class:`ContextTooSmall`.
    """
    path, children, siblings = view.path(parent), view.children(parent), view.siblings(parent)
    near = {node.id for node in (*path, *children, *siblings)}
    key = [node for node in reversed(view.key_nodes()) if node.id not in near]
    near |= {node.id for node in key}
    elsewhere = [node for node in pending(view.nodes()) if node.id not in near]
    parts = [
        *_stable(view),
        *_brief(brief),
        *extra,
        *_insights(view),
        *_rounds(view, "Key rounds of the whole tree", key, "key nodes", "key rounds"),
        *_rounds(view, "Siblings of the parent", siblings, "siblings"),
        *_rounds(view, "The way to the parent", path[:-1], "earlier path"),
        *_rounds(view, "Under way elsewhere: do not repeat", elsewhere, "under way"),
        *_rounds(view, f"Tried or under way from node {parent}: do not repeat", children, "children"),
        Part("Where the search stands", standing(view), MUST),
        _parent(view, path[-1]),
        *_notes(notes),
    ]
    values: dict[str, object] = {"parent": parent, "trials": view.config.researcher.trials}
    if stage == "plan":
        values["direction"] = paragraph(direction or "Your own choice.", 2500)
    return _messages(load_prompt("researcher"), stage, parts, settings_budget, **values)


def diagnosis_messages(
    view: TreeView,
    node: int,
    samples: Iterable[Sample],
    *,
    budget: int,
    rule_report: str,
    cases: CaseReport | None = None,
) -> list[Message]:
    """Return the question that reads a finished round. ``samples``: the dev rows of its best trial; ``cases``: how they
    moved against the parent's.
    """
    this = view.node(node)
    above = [view.node(this.parent)] if this.parent is not None else []
    parts = [
        *task_parts(view),
        *_insights(view),
        Part("Where the search stands", standing(view), MUST),
        *(_read(view, "The parent", one) for one in above),
        *(
            [Part("Report of the rules", paragraph(rule_report, 6000), PRIORITY["rule report"], data=True)]
            * bool(rule_report)
        ),
        _read(view, "The round to read", this),
        *_rows(view, samples, cases=cases),
    ]
    return _messages(load_prompt("researcher"), "diagnose", parts, budget, node=node)


def brief_messages(
    view: TreeView, samples: Iterable[Sample], *, budget: int, notes: Sequence[str] = ()
) -> list[Message]:
    """Return the question for the brief. ``samples``: the dev rows as the base model answered them; ``notes``: what a
    person said of an earlier one.
    """
    parts = [
        *_stable(view),
        Part("Where the search stands", standing(view), MUST),
        *_rows(view, samples, right=True),
        *_notes(notes),
    ]
    return _messages(load_prompt("researcher"), "brief", parts, budget)


def revise_messages(previous: Sequence[Message], answer_json: str, refusals: Sequence[str]) -> list[Message]:
    """Return the earlier question, the answer, and why it was refused. This comes on top of the question's budget."""
    quoted = "\n".join(f"- {one_line(reason, 500)}" for reason in refusals[:20])
    text = load_prompt("researcher").user("revise", refusals=quoted)
    return [*previous, {"role": "assistant", "content": neutral(answer_json)}, {"role": "user", "content": text}]


def review_messages(view: TreeView, parent: int, plan: RoundPlan, *, budget: int) -> list[Message]:
    """Return the question for a second opinion on a plan that the rules have accepted."""
    proposed = [
        f"hypothesis: {one_line(plan.hypothesis, 4000)}",
        f"expected effect: {one_line(plan.expected_effect, 2000)}",
        plan_changes(view, parent, plan),
        f"move: {one_line(plan.move, 80)}",
        *plan_lines(plan),
    ]
    twins = near_duplicates(plan, view, load_playbook())
    parts = [
        *_stable(view),
        *_insights(view),
        *_rounds(view, f"Tried or under way from node {parent}", view.children(parent), "children"),
        Part("Where the search stands", standing(view), MUST),
        _parent(view, view.node(parent)),
        Part("The plan to review", "\n".join(proposed), MUST, data=True),
        Part("Near duplicates", "\n".join(f"- {one_line(twin, 300)}" for twin in twins) or "None.", MUST),
    ]
    return _messages(load_prompt("reviewer"), "review", parts, budget, parent=parent)


def _messages(prompt: Prompt, section: str, parts: Sequence[Part], budget: int, **values: object) -> list[Message]:
    """Fill a section with the parts that fit. What the prompt itself takes is no room for parts."""
    system = prompt.system()
    room = budget - estimate_tokens(system) - estimate_tokens(prompt.user(section, context="", **values))
    user = prompt.user(section, context=render(fit(parts, room)), **values)
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _stable(view: TreeView) -> list[Part]:
    return [*task_parts(view), operator_part(view), training_part(view), *_lessons(view)]


def _notes(notes: Sequence[str]) -> list[Part]:
    text = "\n".join(f"- {one_line(note, 1000)}" for note in notes[:20])
    return [Part("Notes", text, MUST)] if notes else []


def _lessons(view: TreeView) -> list[Part]:
    """What earlier searches taught: frozen at launch, so it stands among what does not change."""
    known = [] if "insights" in view.config.researcher.without else prior_lines(view)
    lines = [one_line(line, 500) for line in reversed(known)]
    title, unit = "Lessons of earlier searches, on other data", "lessons"
    return [Part(title, "\n\n".join(lines), PRIORITY["earlier searches"], unit, data=True)] if lines else []


def _brief(brief: str) -> list[Part]:
    text = paragraph(brief, 12_000)
    return [Part("Brief of the task", text, PRIORITY["brief"], "briefs", data=True)] if text else []


def _insights(view: TreeView) -> list[Part]:
    lessons = [
        f"- {one_line(one.kind, 80) or 'lesson'}: {one_line(one.text, 500)} (nodes {', '.join(map(str, one.nodes))})"
        for one in ([] if "insights" in view.config.researcher.without else reversed(by_weight(view.insights())))
    ]
    text = "\n\n".join(lessons)
    return [Part("Insights", text, PRIORITY["insights"], "earlier insights", data=True)] if lessons else []


def _rows(
    view: TreeView, samples: Iterable[Sample], *, right: bool = False, cases: CaseReport | None = None
) -> list[Part]:
    """The evaluated rows; where the search is to do without bad cases, that there are none to be seen."""
    if "bad-cases" in view.config.researcher.without:
        return [Part("Bad cases", "This search does without them: go by the scores.", MUST)]
    return row_parts(view, samples, priority=PRIORITY["rows"], right=right, cases=cases)


def _rounds(
    view: TreeView, title: str, nodes: Sequence[NodeView], name: str, unit: str = "earlier rounds"
) -> list[Part]:
    text = "\n\n".join(round_entry(view, node, length=ROUND_CHARS) for node in nodes)
    return [Part(title, text, PRIORITY[name], unit, data=True)] if nodes else []


def _parent(view: TreeView, node: NodeView) -> Part:
    """The round that is built upon, in full, with its plan in the form that an answer has."""
    text = f"{round_entry(view, node, length=PARENT_CHARS)}\n{plan_json(view, node)}"
    return Part(f"The parent, node {node.id}: your round is a change of this", text, MUST, data=True)


def _read(view: TreeView, title: str, node: NodeView) -> Part:
    """A round in full, with the rates of its answers."""
    found = "" if "bad-cases" in view.config.researcher.without else rates(node)
    text = round_entry(view, node, length=PARENT_CHARS) + (f"\n  rates: {found}" if found else "")
    return Part(f"{title}, node {node.id}", text, MUST, data=True)
