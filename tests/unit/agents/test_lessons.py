"""Claims about moves: counted anew at each reading, so that in the end the same holds whatever came in first."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_view import FakeTree

from hpc_trex.agents.evidence import gains
from hpc_trex.agents.lessons import claim_of, insights
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.agents.tree_facts import read_tree
from hpc_trex.models import FailureClass
from hpc_trex.tree.insights import Stated, settle

ROUNDS = 4
OUTCOMES = st.one_of(st.sampled_from([0.30, 0.33, 0.36, 0.45, 0.60]), st.just(FailureClass.DIVERGED))


class Search:
    """A search whose rounds are all designed, and come in one by one; what is said of them is kept as the store keeps it."""

    def __init__(self, noise: float | None) -> None:
        self.tree, self.playbook = FakeTree(), PlaybookResearcher()
        self.tree.noise_sd = noise
        self.said: list[Stated] = []
        for _ in range(ROUNDS):
            self.tree.add(0, self.playbook.propose(self.tree, 0, seed=1))

    def read(self, node: int) -> None:
        for one in self.playbook.diagnose(self.tree, node, []).insights:
            self.said.append(Stated(one, node, len(self.said)))
        self.tree.lessons = [one.insight for one in settle(self.said, set()) if one.fate == "stands"]

    def finish(self, node: int, outcomes: list[float | FailureClass]) -> None:
        trials = len(self.tree.node(node).trials)
        self.tree.finish(node, outcomes[:trials])
        self.read(node)

    def holds(self) -> set[tuple[str, tuple[int, ...], str]]:
        return {(one.text, one.nodes, one.direction) for one in self.tree.lessons}


@given(
    st.lists(st.tuples(OUTCOMES, OUTCOMES), min_size=ROUNDS, max_size=ROUNDS),
    st.sampled_from(list(permutations(range(1, ROUNDS + 1)))),
    st.sampled_from([None, 0.01]),
)
@settings(max_examples=40, deadline=None)
def test_what_holds_in_the_end_is_what_all_the_evidence_says(
    outcomes: list[tuple[float | FailureClass, ...]], order: tuple[int, ...], noise: float | None
) -> None:
    search = Search(noise)
    for node in order:
        search.finish(node, list(outcomes[node - 1]))
    facts = read_tree(search.tree)
    observed = gains(facts, search.playbook.book)
    names = {gain.move for gain in observed}
    claims = [claim_of(name, [gain for gain in observed if gain.move == name], facts.noise) for name in names]
    assert search.holds() == {(one.text, one.nodes, one.direction) for one in claims if one is not None}


def test_a_partner_that_comes_in_late_makes_the_claim_of_a_round_that_was_read_before() -> None:
    search = Search(0.01)
    search.finish(2, [0.60, 0.60])
    before = search.holds()
    assert not any("clean gained" in text for text, _, _ in before)  # nothing to compare with yet
    search.finish(1, [0.40, 0.40])
    assert ("clean gained +0.200 (node 2)", (2,), "helps") in search.holds()


def test_a_claim_is_withdrawn_when_the_noise_turns_out_larger() -> None:
    search = Search(0.01)
    search.finish(1, [0.40, 0.45])
    assert [text for text, _, _ in search.holds()] == ["lr-up gained +0.050 (node 1)"]
    search.tree.noise_sd = 0.05
    search.finish(2, [0.41, 0.41])
    assert not any(text.startswith("lr-up") for text, _, _ in search.holds())
    taken = next(one for one in settle(search.said, set()) if one.insight.text.startswith("lr-up gained"))
    assert taken.fate == "taken back"
    assert taken.instead == "lr-up is not known to help or hurt: +0.050 (node 1) is within the noise"


def test_a_claim_that_stands_is_not_said_again() -> None:
    search = Search(0.01)
    search.finish(1, [0.40, 0.45])
    assert search.said
    assert insights(read_tree(search.tree), search.playbook.book) == []
    before = len(search.said)
    search.read(1)
    assert len(search.said) == before


def test_the_figures_of_a_claim_are_effect_pairs_and_standard_errors() -> None:
    search = Search(0.01)
    search.finish(1, [0.40, 0.45])
    (one,) = search.tree.lessons
    assert one.effect == pytest.approx(0.05)
    assert one.errors == pytest.approx(0.05 / (read_tree(search.tree).noise * 2**0.5))
    assert one.pairs == 1
