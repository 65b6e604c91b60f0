"""Which insights stand: merged, weighed against each other, dropped where later or measured evidence says otherwise.

A pure function of all that was said. Of what models told, the order of arrival does not matter: rounds are compared by
their numbers. A measured claim (kind ``move:NAME``) is a recount of all evidence at its time, so the newest recount stands.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from hpc_trex.models import Insight
from hpc_trex.tree.review import on_firm_ground, struck_nodes
from hpc_trex.tree.rows import insight

if TYPE_CHECKING:
    from sqlite_utils import Database

    from hpc_trex.tree.reads import TreeReads

#: Kinds of insights that rules measured, and of those that a model told.
MEASURED, TOLD = "move:", "llm:"

#: A side with so many times the rounds of another one outweighs it.
OUTWEIGHS = 2

Fate = Literal["stands", "renewed", "taken back"]


class Stated(NamedTuple):
    """An insight as the diagnosis of round ``by`` made it; ``number`` counts them in the order of arrival."""

    insight: Insight
    by: int
    number: int


class Settled(NamedTuple):
    """What became of it. ``insight``: as it stands now, with the rounds of all that say the same."""

    insight: Insight
    by: int
    fate: Fate
    instead: str = ""
    """Why it does not stand: the text that overrules it, or the struck rounds below it."""


def put_insights(db: Database, node: int, insights: Iterable[Insight]) -> None:
    """Put what the diagnosis of a round said in the place of what an earlier one of it said."""
    db.execute("DELETE FROM insights WHERE node = ?", [node])
    for one in insights:
        db.execute(
            "INSERT INTO insights (node, text, nodes, kind, direction, effect, errors, pairs)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [node, one.text, json.dumps(one.nodes), one.kind, one.direction, one.effect, one.errors, one.pairs],
        )


def stated(tree: TreeReads) -> list[Stated]:
    """Return all insights that were ever made, oldest first."""
    rows = tree._rows("SELECT * FROM insights ORDER BY id")  # of one room
    return [Stated(insight(row), row["node"], row["id"]) for row in rows]


def standing(tree: TreeReads) -> list[Insight]:
    """Return the insights that hold now, oldest first."""
    return [one.insight for one in settle(stated(tree), struck_nodes(tree)) if one.fate == "stands"]


def by_weight(insights: Iterable[Insight]) -> list[Insight]:
    """Return insights with the weightiest first: measured ones by their effect in standard errors, then told ones by rounds."""
    return sorted(insights, key=lambda one: (one.errors is None, -weight(one)))


def weight(one: Insight) -> float:
    """Return what an insight weighs: its effect in standard errors of a difference (it grows with effect and pairs, and shrinks with
    the noise); of one that was not measured, the rounds that it rests on.
    """
    return abs(one.errors) if one.errors is not None else float(len(set(one.nodes)))


def settle(said: Sequence[Stated], struck: set[int]) -> list[Settled]:
    """Return what became of each insight, in the order of arrival; a contradiction adds one that names both sides."""
    settled: dict[int, Settled] = {}
    added: dict[int, Settled] = {}
    kinds: dict[str, list[Stated]] = defaultdict(list)
    for one in said:
        if not on_firm_ground(one.insight, one.by, struck):
            reason = f"it stands on {_named('struck node', struck & {*one.insight.nodes, one.by})}"
            settled[one.number] = Settled(one.insight, one.by, "taken back", reason)
        elif not one.insight.kind:
            settled[one.number] = Settled(one.insight, one.by, "stands")
        else:
            kinds[one.insight.kind].append(one)
    measured: dict[str, Insight] = {}
    for kind, own in kinds.items():
        if kind.startswith(MEASURED):
            settled |= _recounted(own)
            if own[-1].insight.direction != "withdrawn":
                measured[kind.removeprefix(MEASURED)] = own[-1].insight
    for kind, own in kinds.items():
        if not kind.startswith(MEASURED):
            fates, both = _told(own, measured.get(kind.removeprefix(TOLD)))
            settled |= fates
            if both is not None:
                added[max(one.number for one in own)] = both
    return [found for number in sorted(settled) for found in (settled[number], added.get(number)) if found is not None]


def _recounted(own: Sequence[Stated]) -> dict[int, Settled]:
    """Settle the claims of one move: the newest stands, unless it takes all back."""
    last = own[-1]
    fates = {one.number: _followed(one, new) for one, new in itertools.pairwise(own)}
    gone = last.insight.direction == "withdrawn"
    fates[last.number] = Settled(
        last.insight, last.by, "taken back" if gone else "stands", "no claim is made" if gone else ""
    )
    return fates


def _told(own: Sequence[Stated], measured: Insight | None) -> tuple[dict[int, Settled], Settled | None]:
    """Settle what models told of one kind."""
    ordered = sorted(own, key=lambda one: (one.by, one.number))
    fates: dict[int, Settled] = {}
    sides: dict[str, list[Stated]] = defaultdict(list)
    for one, later in zip(ordered, _overruling(ordered), strict=True):
        if later is None:
            sides[one.insight.direction].append(one)
        else:
            fates[one.number] = _followed(one, later)
    merged = [_merged(side, fates) for _, side in sorted(sides.items())]
    if measured is not None:  # before they are weighed: many rounds that were read wrongly outweigh nothing
        for one in merged:
            if _differ(one.insight, measured):
                fates[one.number] = Settled(one.insight, one.by, "taken back", f"measured: {measured.text}")
        merged = [one for one in merged if not _differ(one.insight, measured)]
    return fates, _weigh(merged, fates)


def _followed(one: Stated, new: Stated) -> Settled:
    """Settle an insight in whose place another one stands."""
    same = claim(one.insight) == claim(new.insight)
    return Settled(one.insight, one.by, "renewed" if same else "taken back", new.insight.text)


def _overruling(ordered: Sequence[Stated]) -> list[Stated | None]:
    """Return of each lesson the next one of a later round that takes its place: where either of the two names no direction, and where
    the later one says something else of the same rounds and perhaps more.

    What rests on all of a lesson's rounds rests on its rarest: only those are looked at, of thousands a few.
    """
    found: list[Stated | None] = []
    resting: dict[int | None, list[tuple[int, frozenset[int]]]] = defaultdict(list)  # by round; None: all
    undirected: int | None = None
    for place in reversed(range(len(ordered))):
        one = ordered[place].insight
        nodes = frozenset(one.nodes)
        if one.direction:
            candidates = min((resting[node] for node in nodes), key=len) if nodes else resting[None]
            later = (
                number
                for number, others in reversed(candidates)
                if others >= nodes and ordered[number].insight.direction != one.direction
            )
            places = [number for number in (undirected, next(later, None)) if number is not None]
            found.append(ordered[min(places)] if places else None)
            for node in (None, *nodes):
                resting[node].append((place, nodes))
        else:
            found.append(ordered[place + 1] if place + 1 < len(ordered) else None)
            undirected = place
    return found[::-1]


def _merged(side: Sequence[Stated], fates: dict[int, Settled]) -> Stated:
    """Return the newest of those that say the same, with the rounds of all; the others are renewed by it."""
    last = side[-1]
    nodes = tuple(sorted({node for one in side for node in one.insight.nodes}))
    for one in side[:-1]:
        fates[one.number] = Settled(one.insight, one.by, "renewed", last.insight.text)
    found = last._replace(insight=last.insight.model_copy(update={"nodes": nodes}))
    fates[last.number] = Settled(found.insight, last.by, "stands")
    return found


def _weigh(sides: Sequence[Stated], fates: dict[int, Settled]) -> Settled | None:
    """Weigh sides that contradict each other; where none outweighs the others, return the insight that names them all."""
    if len(sides) < 2:
        return None
    ordered = sorted(sides, key=lambda one: (-len(one.insight.nodes), -one.by))
    first, *others = ordered
    count = len(first.insight.nodes)
    if count >= OUTWEIGHS * len(others[0].insight.nodes):
        for one in others:
            reason = f"outweighed, {count} rounds against {len(one.insight.nodes)}: {first.insight.text}"
            fates[one.number] = Settled(one.insight, one.by, "taken back", reason)
        return None
    by_round = sorted(sides, key=lambda one: (one.by, one.insight.direction))
    words = [f"{one.insight.text} ({_named('node', one.insight.nodes)})" for one in by_round]
    text = f"contradicted, it depends: {'; but '.join(words)}"
    for one in sides:
        fates[one.number] = Settled(one.insight, one.by, "taken back", text)
    nodes = tuple(sorted({node for one in sides for node in one.insight.nodes}))
    kind = first.insight.kind
    whole = Insight(text=text, nodes=nodes, kind=kind, direction="depends")
    return Settled(whole, by_round[-1].by, "stands")


def _differ(told: Insight, measured: Insight) -> bool:
    return bool(told.direction and measured.direction) and told.direction != measured.direction


def claim(one: Insight) -> str:
    """Return what an insight says apart from its figures: of a move the verb (``gained``, ``lost``, ``depends``), else its
    direction, else all of it.
    """
    if not one.kind.startswith(MEASURED):
        return one.direction or one.text
    rest = one.text.removeprefix(one.kind.removeprefix(MEASURED)).split()
    return " ".join(rest[:2]) if rest[:1] in (["made"], ["makes"]) else rest[0] if rest else ""


def _named(what: str, nodes: Iterable[int]) -> str:
    listed = sorted(set(nodes))
    return f"{what}{'' if len(listed) == 1 else 's'} {', '.join(map(str, listed)) or 'none'}"
