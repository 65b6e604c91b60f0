"""An idea is a round before it is a plan: what it changes of its parent, and which trials contrast with it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from hpc_trex.agents.apply import Draft, apply_move, get_field, reference
from hpc_trex.agents.evidence import AS_PARENT, move_names
from hpc_trex.agents.moves import TRAIN_FIELDS, Move
from hpc_trex.agents.tree_facts import Facts, Key, draft_key
from hpc_trex.models import RoundPlan, TrialPlan
from hpc_trex.models.operators import Step


class Idea(NamedTuple):
    """``moves`` change all trials; ``trials`` are (label, draft), at least one, all on the same data."""

    kind: str
    moves: tuple[str, ...]
    trials: tuple[tuple[str, Draft], ...]
    hypothesis: str
    expected: str


def contrasts(
    facts: Facts, anchor: Draft, moves: Iterable[Move], count: int, *, size: float
) -> list[tuple[str, Draft]]:
    """Return up to ``count`` trials that differ from the anchor by one training move each, in the order of ``moves``.

    Trials that were designed before are passed over. Where single moves do not fill the count, pairs of them do.
    """
    single: list[tuple[Move, Draft]] = []
    seen: set[Key] = {draft_key(anchor)}
    for move in moves:
        draft = apply_move(move, anchor, facts.sources, size=size) if move.kind == "train" else None
        if draft is not None and draft_key(draft) not in seen and draft_key(draft) not in facts.known:
            seen.add(draft_key(draft))
            single.append((move, draft))
            if len(single) == count:
                break
    found = [(move.name, draft) for move, draft in single]
    for (first, draft), (second, _) in itertools.combinations(single, 2):
        if len(found) >= count:
            break
        both = None if first.excludes(second) else apply_move(second, draft, facts.sources, size=size)
        if both is not None and draft_key(both) not in seen and draft_key(both) not in facts.known:
            seen.add(draft_key(both))
            found.append((f"{first.name}+{second.name}", both))
    return found


def texts(facts: Facts, moves: Iterable[Move], draft: Draft) -> tuple[str, str]:
    """Return hypothesis and expected effect of some moves, their place-holders filled."""
    trusted = reference(draft.data, facts.sources) or "the trusted source"
    chosen = list(moves)
    hypothesis = " ".join(move.hypothesis.format(trusted=trusted) for move in chosen)
    return hypothesis, " ".join(move.expected.format(trusted=trusted) for move in chosen)


def to_plan(idea: Idea, base: Draft) -> RoundPlan:
    """Return the plan of an idea, its rule and its exact changes of ``base`` printed in the hypothesis."""
    label, anchor = idea.trials[0]
    # Where the first trial is itself one of the contrasts, each trial is told against what all of them start from.
    alike = label in idea.moves
    lines = [f"{idea.kind.capitalize()}: {idea.hypothesis}", f"Changes: {changes(base, anchor)}."]
    lines += [f"Trial {name}: {changes(base if alike else anchor, draft)}." for name, draft in idea.trials[1:]]
    return RoundPlan(
        hypothesis=" ".join(lines)[:4000],
        expected_effect=idea.expected[:2000],
        move=tag(idea.kind, idea.moves),
        data=anchor.data,
        trials=tuple(TrialPlan(train=d.train, mixture=d.mixture, label=label[:80]) for label, d in idea.trials),
    )


def tag(kind: str, names: Iterable[str]) -> str:
    """Return ``kind:name+name``, at most 80 characters, whole names only; the last name is never left out."""
    kept = list(dict.fromkeys(names))
    while len(text := f"{kind}:{'+'.join(kept)}") > 80 and len(kept) > 1:
        kept.pop(1 if kept[0].startswith("from-") and len(kept) > 2 else 0)
    return text if kept else kind


def tried(facts: Facts) -> set[str]:
    """Return the names of all moves that some round or trial names, pending ones included."""
    names: set[str] = set()
    for node in facts.nodes.values():
        if node.plan is not None:
            names.update(move_names(node.plan.move))
            for trial in node.plan.trials:
                names.update(move_names(trial.label))
    return names - {AS_PARENT}


def changes(before: Draft, after: Draft) -> str:
    """Return in words what differs between two drafts."""
    found = []
    for name in sorted(TRAIN_FIELDS):
        old, new = get_field(before.train.resolved(), name), get_field(after.train.resolved(), name)
        if old != new:
            found.append(f"{name} {_show(old)} -> {_show(new)}")
    if before.mixture != after.mixture:
        found.append(f"mixture {_show(before.mixture)} -> {_show(after.mixture)}")
    old_steps, new_steps = list(before.data.steps), list(after.data.steps)
    found += [f"without {describe(step)}" for step in old_steps if step not in new_steps]
    found += [f"with {describe(step)}" for step in new_steps if step not in old_steps]
    return "; ".join(found) or "nothing"


def describe(step: Step) -> str:
    """Return a step in a few words: its name and the parameters that are set."""
    values = step.model_dump(exclude={"op"}, exclude_defaults=True)
    return f"{step.op}({', '.join(f'{k}={_show(v)}' for k, v in values.items())})" if values else step.op


def _show(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)
