"""Insights with what was said before: the claims of the real diagnosis, in the real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.agents.evidence import Gain
from hpc_trex.agents.history import history
from hpc_trex.agents.lessons import claim_of
from hpc_trex.layout import SearchPaths
from hpc_trex.models import Insight, NodeState, Profile, SearchConfig
from hpc_trex.tree import events as ev
from hpc_trex.tree.insights import claim
from hpc_trex.tree.store import Store

NOISE = 0.02


def said(*gains: float | None) -> Insight:
    """The claim that these gains of one move make; None: the training failed."""
    own = [Gain("lr-up", node, gain or 0.0, failed=gain is None) for node, gain in enumerate(gains, start=1)]
    made = claim_of("lr-up", own, NOISE)
    assert made is not None
    return made


@pytest.fixture
def store(tmp_path: Path):
    paths = SearchPaths(tmp_path / "s")
    paths.root.mkdir()
    config = SearchConfig(name="s", task="t", model="builtin:tiny-qwen3", profile=Profile(name="local"))
    with Store.create(paths, ev.SearchCreated(config=config, task_digest="t", base_digest="b")) as made:
        made.record(ev.NodeAdded(node=0, parent=None, plan=None))
        made.record(ev.NodeEnded(node=0, state=NodeState.DONE, score=0.2, best_trial=1))
        yield made


def diagnose(store: Store, *insights: Insight) -> None:
    node = store.next_node()
    store.record(ev.NodeAdded(node=node, parent=0, plan=None))
    store.record(ev.NodeEnded(node=node, state=NodeState.DONE, score=0.3, best_trial=1))
    store.record(ev.NodeDiagnosed(node=node, report="r", insights=insights))


def test_what_stands_is_what_the_search_shows_and_older_claims_are_renewed_or_taken_back(store: Store) -> None:
    other = Insight(text="answers are cut", nodes=(1,))
    diagnose(store, said(0.2), other)
    diagnose(store, said(0.2, 0.3))
    diagnose(store, said(0.2, 0.3, -0.3), other)
    found = history(store)
    assert [one.fate for one in found] == ["renewed", "stands", "taken back", "stands", "stands"]
    standing = [(one.text, one.nodes, one.kind, one.direction) for one in found if one.fate == "stands"]
    assert standing == [(one.text, one.nodes, one.kind, one.direction) for one in store.insights()]
    assert found[2].instead == found[3].text
    assert [one.by for one in found] == [1, 1, 2, 3, 3]


def test_each_kind_of_claim_is_told_from_the_others_and_from_its_own_figures() -> None:
    kinds = {
        "gained": [said(0.2), said(0.4, 0.3)],
        "lost": [said(-0.2), said(-0.4, -0.1)],
        "depends": [said(0.2, -0.2), said(0.3, -0.2)],
        "made the": [said(None), said(None, None)],
        "makes no": [said(0.001, 0.002), said(0.001, -0.002, 0.0)],
    }
    assert {name: {claim(one) for one in made} for name, made in kinds.items()} == {name: {name} for name in kinds}


def test_what_a_model_told_is_taken_back_by_what_was_measured_and_the_reason_is_kept(store: Store) -> None:
    told = Insight(text="a higher rate is safe here", nodes=(1,), kind="llm:lr-up", direction="helps")
    diagnose(store, told)
    diagnose(store, said(-0.3))
    found = history(store)
    assert [(one.fate, one.kind) for one in found] == [("taken back", "llm:lr-up"), ("stands", "move:lr-up")]
    assert found[0].instead == f"measured: {found[1].text}"
    assert (found[0].weight, found[0].measured) == (1.0, False)
    assert found[1].measured
    assert found[1].weight == pytest.approx(0.3 / (NOISE * 2**0.5))
    assert store.insights()[0].errors == pytest.approx(-0.3 / (NOISE * 2**0.5))
