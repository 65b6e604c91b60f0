"""What a search claims of its moves: insights that are measured, and counted anew from all evidence.

An insight is a claim about a move over the whole tree, not about one round. It is made when the move's mean gain is
beyond two standard errors of a difference of two scores, and it carries ``kind = "move:NAME"``: a later insight of
the same kind takes the place of the earlier one, so that a claim grows, weakens or is taken back with the evidence. Each
reading says what has changed of *any* move: a partner that comes in late, a repeat or a new noise floor changes claims of rounds
that were read before, and in the end the same holds whatever came in first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from hpc_trex.agents.evidence import Gain, beats_noise, gains
from hpc_trex.agents.moves import Playbook
from hpc_trex.agents.tree_facts import Facts
from hpc_trex.models import Insight

#: Standard errors that a gain must have before it is claimed.
TO_CLAIM = 2.0

#: How the kind of a measured insight begins.
MOVE = "move:"


def verdict(gain: float, count: int, noise: float) -> str:
    """Return in words what a gain is worth against the noise."""
    if beats_noise(abs(gain), count, noise, errors=TO_CLAIM):
        return "a clear gain" if gain > 0 else "a clear loss"
    return f"within the noise (two standard errors are {TO_CLAIM * noise * (2 / count) ** 0.5:.3f})"


def insights(facts: Facts, book: Playbook) -> list[Insight]:
    """Return the claims about moves that are new, or other than they stand in the tree, from all rounds together."""
    by_move: dict[str, list[Gain]] = defaultdict(list)
    for gain in gains(facts, book):
        by_move[gain.move].append(gain)
    stands = {one.kind.removeprefix(MOVE): one for one in facts.view.insights() if one.kind.startswith(MOVE)}
    found = []
    for name in sorted(by_move.keys() | stands.keys()):
        own, earlier = by_move.get(name, []), stands.get(name)
        claim = claim_of(name, own, facts.noise) if own else None
        if claim is None and earlier is not None:
            claim = _withdrawn(name, own, earlier)
        if claim is not None and (earlier is None or _differs(claim, earlier)):
            found.append(claim)
    return found


def _differs(claim: Insight, earlier: Insight) -> bool:
    """Tell whether a claim says something new: what is left of the figures by a noise that moved a little is not."""
    weights = [round(one.errors) if one.errors is not None else None for one in (claim, earlier)]
    same = (claim.text, claim.nodes, claim.direction) == (earlier.text, earlier.nodes, earlier.direction)
    return not same or weights[0] != weights[1]


def _withdrawn(name: str, own: list[Gain], earlier: Insight) -> Insight:
    """Return that no claim is made any more of a move of which one stands."""
    scored = [gain for gain in own if not gain.failed]
    seen = (
        f"{_mean(scored):+.3f} ({_nodes(gain.node for gain in scored)}) is within the noise"
        if scored
        else "no pair is left"
    )
    nodes = tuple(sorted({gain.node for gain in own})) or earlier.nodes
    return Insight(
        text=f"{name} is not known to help or hurt: {seen}", nodes=nodes, kind=MOVE + name, direction="withdrawn"
    )


def claim_of(name: str, own: list[Gain], noise: float) -> Insight | None:
    """Return the claim about one move: it fails, helps, hurts, or depends; None while all lies within the noise.

    A contradiction is a clear gain at one place and a clear loss at another: then no mean is claimed.
    """
    failed = sorted({gain.node for gain in own if gain.failed})
    scored = [gain for gain in own if not gain.failed]
    said = Insight(text=name, nodes=tuple(sorted({gain.node for gain in own})), kind=MOVE + name, pairs=len(own))
    if failed and len(failed) >= len(scored):
        return said.model_copy(
            update={"text": f"{name} made the training fail ({_nodes(failed)})", "direction": "hurts"}
        )
    helped = [gain for gain in scored if beats_noise(gain.gain, 1, noise, errors=TO_CLAIM)]
    hurt = [gain for gain in scored if beats_noise(-gain.gain, 1, noise, errors=TO_CLAIM)]
    if helped and hurt:
        text = (
            f"{name} depends on what stands around it: {_mean(helped):+.3f} ({_nodes(g.node for g in helped)}), "
            f"but {_mean(hurt):+.3f} ({_nodes(g.node for g in hurt)})"
        )
        return said.model_copy(update={"text": text, "direction": "depends"})
    mean = _mean(scored)
    figures = {"effect": mean, "errors": mean / (noise * (2 / len(scored)) ** 0.5), "pairs": len(scored)}
    if beats_noise(abs(mean), len(scored), noise, errors=TO_CLAIM):
        word, direction = ("gained", "helps") if mean > 0 else ("lost", "hurts")
        text = f"{name} {word} {mean:+.3f} ({_nodes(g.node for g in scored)})"
        return said.model_copy(update={"text": text, "direction": direction, **figures})
    if len(scored) > 1:
        text = f"{name} makes no clear difference: {mean:+.3f} in {len(scored)} pairs ({_nodes(said.nodes)})"
        return said.model_copy(update={"text": text, "direction": "neutral", **figures})
    return None


def _mean(found: list[Gain]) -> float:
    return sum(gain.gain for gain in found) / len(found)


def _nodes(ids: Iterable[int]) -> str:
    unique = sorted(set(ids))
    return f"node{'s' if len(unique) > 1 else ''} {', '.join(map(str, unique))}"
