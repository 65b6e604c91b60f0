"""What a search found about each move, in numbers: the same that its insights say in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tree_view import Surface, search

from hpc_trex.agents.evidence import Gain, gains
from hpc_trex.agents.findings import _verdict, findings
from hpc_trex.agents.lessons import claim_of
from hpc_trex.agents.moves import load_playbook
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.agents.tree_facts import read_tree
from hpc_trex.models import Insight
from hpc_trex.tree.insights import claim

BOOK = load_playbook()
NOISE = 0.02
WORDS = {"gained": "gain", "lost": "loss", "depends": "depends", "made the": "fails", "makes no": "unclear"}


@given(st.lists(st.one_of(st.none(), st.floats(-0.3, 0.3)), min_size=1, max_size=6))
def test_the_verdict_is_what_the_insight_claims(values: list[float | None]) -> None:
    own = [Gain("clean", node, value or 0.0, failed=value is None) for node, value in enumerate(values)]
    scored = [value for value in values if value is not None]
    said = claim_of("clean", own, NOISE)
    expected = WORDS[claim(said)] if said is not None else "unclear"
    assert _verdict(scored, len(values) - len(scored), NOISE) == expected


def test_each_measured_move_is_there_once_with_its_mean_in_three_units() -> None:
    tree, _ = search(PlaybookResearcher(BOOK), Surface(1), rounds=10, seed=1)
    facts = read_tree(tree)
    observed = gains(facts, BOOK)
    found = findings(facts, BOOK, [])
    assert [one.move for one in found] == sorted({gain.move for gain in observed})
    for one in found:
        own = [gain for gain in observed if gain.move == one.move]
        scored = [gain.gain for gain in own if not gain.failed]
        assert (one.pairs, one.failed) == (len(scored), len(own) - len(scored))
        assert one.nodes == tuple(sorted({gain.node for gain in own}))
        if scored:
            assert one.effect == pytest.approx(sum(scored) / len(scored))
            assert one.in_noise == pytest.approx(one.effect / facts.noise)
            assert one.share == pytest.approx(one.effect / facts.unit)


def test_insights_about_no_measured_move_go_in_as_they_were_worded() -> None:
    tree, _ = search(PlaybookResearcher(BOOK), Surface(1), rounds=4, seed=1)
    facts = read_tree(tree)
    move = findings(facts, BOOK, [])[0].move
    insights = [
        Insight(text=f"{move} gained", nodes=(1,), kind=f"move:{move}"),
        Insight(text="answers are cut at 64 tokens", nodes=(2, 1), kind="form"),
        Insight(text="a word without a kind", nodes=(1,)),
    ]
    found = findings(facts, BOOK, insights)
    assert found[0].text == f"{move} gained"
    told = [(one.move, one.text, one.nodes) for one in found if one.verdict == "told"]
    assert told == [("form", "answers are cut at 64 tokens", (1, 2)), ("", "a word without a kind", (1,))]


def test_a_round_that_was_struck_is_no_evidence() -> None:
    tree, _ = search(PlaybookResearcher(BOOK), Surface(1), rounds=4, seed=1)
    before = findings(read_tree(tree), BOOK, [])
    node = before[0].nodes[0]
    tree._nodes[node] = tree._nodes[node].model_copy(update={"struck": True})
    told = Insight(text="only that round says so", nodes=(node,), kind="form")
    after = findings(read_tree(tree), BOOK, [told])
    assert before != after
    assert all(node not in one.nodes for one in after)
