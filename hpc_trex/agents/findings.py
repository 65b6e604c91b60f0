"""What a search found about each move, in numbers, and the search as the knowledge base holds it.

The gains are read from the tree again, all of them: also those within the noise, of which no insight is made, because a
mean over many searches that is taken of the clear ones only would be too large.
"""

from __future__ import annotations

from collections import defaultdict
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_trex.agents.evidence import Gain, beats_noise, gains
from hpc_trex.agents.lessons import MOVE, TO_CLAIM
from hpc_trex.agents.moves import Playbook, load_playbook
from hpc_trex.agents.tree_facts import Facts, read_tree
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.files import read_record
from hpc_trex.knowledge.size import size_class
from hpc_trex.layout import SearchPaths
from hpc_trex.models import Insight, TaskCard, digest
from hpc_trex.models.knowledge import Finding, Remembered, Target, Verdict
from hpc_trex.tree.context import StoreView
from hpc_trex.tree.store import Store

if TYPE_CHECKING:
    from hpc_trex.agents.protocol import TreeView
    from hpc_trex.models import SearchConfig


def remembered(store: Store, view: TreeView, book: Playbook | None = None) -> Remembered:
    """Return a search with all it found. ``view`` is the tree of ``store`` as a Researcher sees it."""
    config, status, facts = store.config, store.status(), read_tree(view)
    chosen = status.chosen or status.best
    base_digest, task_digest = store.digests()
    target = target_of(config, view.task, task_digest=task_digest, base_digest=base_digest)
    return Remembered(
        **target.model_dump(),
        uid=config.uid or digest({"search": str(store.root)})[:16],
        name=config.name,
        directory=str(store.root),
        ended=store.last_event_time(),
        profile=config.profile.name,
        researcher=config.researcher.name,
        policy=config.policy.name,
        baseline=status.baseline.dev if status.baseline else None,
        best=chosen.dev if chosen else None,
        test_gain=status.test_difference.value if status.test_difference else None,
        noise=status.noise_sd,
        findings=tuple(findings(facts, load_playbook() if book is None else book, store.insights())),
    )


def remembered_from(paths: SearchPaths) -> Remembered:
    """Read a search directory. Raises :class:`EnvironmentProblem` when its task card is gone."""
    card = read_record(paths.card, TaskCard)
    if card is None:
        raise EnvironmentProblem(
            f"{paths.card} is missing or damaged", hint="the search directory is incomplete; restore it"
        )
    rows = {name: count_lines(paths.sources / f"{name}.jsonl") for name in card.sources}
    with Store.read(paths) as reader:
        return remembered(reader, StoreView(reader, card, rows))


def count_lines(path: Path) -> int:
    """Return how many rows a source has; 0 of one that is gone."""
    try:
        with path.open("rb") as handle:
            return sum(1 for _ in handle)
    except FileNotFoundError:
        return 0


def target_of(config: SearchConfig, card: TaskCard, *, task_digest: str, base_digest: str) -> Target:
    """Return what tells a search from others: its task and its base model."""
    return Target(
        task=card.name,
        task_digest=task_digest,
        metric=card.metric.shown,
        tags=card.capabilities,
        model=config.model,
        model_digest=base_digest,
        size=size_class(config.model, config.model_path),
    )


def findings(facts: Facts, book: Playbook, insights: list[Insight]) -> list[Finding]:
    """Return one finding for each move that was measured, then the insights of other kinds as they were worded.

    Rounds that were struck from the tree are no evidence.
    """
    struck = {node.id for node in facts.nodes.values() if node.struck}
    by_move: dict[str, list[Gain]] = defaultdict(list)
    for gain in gains(facts, book):
        if gain.node not in struck:
            by_move[gain.move].append(gain)
    texts = {insight.kind.removeprefix(MOVE): insight.text for insight in insights if insight.kind.startswith(MOVE)}
    measured = [_measured(name, by_move[name], facts, texts.get(name, "")) for name in sorted(by_move)]
    told = [
        Finding(move=one.kind.removeprefix(MOVE), verdict="told", nodes=tuple(sorted(set(one.nodes))), text=one.text)
        for one in insights
        if one.kind.removeprefix(MOVE) not in by_move and not (one.nodes and set(one.nodes) <= struck)
    ]
    return measured + told


def _measured(name: str, own: list[Gain], facts: Facts, text: str) -> Finding:
    scored = [gain.gain for gain in own if not gain.failed]
    effect = fsum(scored) / len(scored) if scored else None
    return Finding(
        move=name,
        verdict=_verdict(scored, len(own) - len(scored), facts.noise),
        effect=effect,
        in_noise=None if effect is None else effect / facts.noise,
        share=None if effect is None else max(-1.0, min(1.0, effect / facts.unit)),
        pairs=len(scored),
        failed=len(own) - len(scored),
        nodes=tuple(sorted({gain.node for gain in own})),
        text=text,
    )


def _verdict(scored: list[float], failed: int, noise: float) -> Verdict:
    """Return what the gains of a move say, by the rules of the diagnosis: two standard errors of a difference."""
    if failed and failed >= len(scored):
        return "fails"
    if any(beats_noise(gain, 1, noise, errors=TO_CLAIM) for gain in scored) and any(
        beats_noise(-gain, 1, noise, errors=TO_CLAIM) for gain in scored
    ):
        return "depends"
    mean = fsum(scored) / len(scored)
    if not beats_noise(abs(mean), len(scored), noise, errors=TO_CLAIM):
        return "unclear"
    return "gain" if mean > 0 else "loss"
