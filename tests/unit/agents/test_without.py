"""A Researcher that is told to do without bad cases, or without insights, does: what it takes away is really away."""

from __future__ import annotations

import random

import pytest
from pydantic import ValidationError
from tree_view import FakeTree, Surface, card, search

from hpc_trex.agents.bandit import sampled
from hpc_trex.agents.moves import load_playbook
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.agents.prior import begin_with
from hpc_trex.agents.tree_facts import read_tree
from hpc_trex.models import Insight, ResearcherSettings
from hpc_trex.models.knowledge import StartingKnowledge
from tests.unit.agents.test_diagnosis import row
from tests.unit.agents.test_prior import lesson, tree

BOOK = load_playbook()
PLAYBOOK = PlaybookResearcher(BOOK)
CUT_ROWS = {"train_truncated": 0.3, "empty": 0.4}


def without(made: FakeTree, *parts: str) -> FakeTree:
    settings = ResearcherSettings(trials=made.config.researcher.trials, without=parts)
    made.config = made.config.model_copy(update={"researcher": settings})
    return made


def moves(*parts: str, rounds: int = 12) -> list[str]:
    made, _ = search(PLAYBOOK, Surface(1), rounds=rounds, seed=3, without=parts)
    return [node.move for node in made.nodes()[1:]]


def symptomatic(*parts: str) -> FakeTree:
    """The probes are over, nothing has won, and the best round's answers show two symptoms."""
    made = FakeTree(max_nodes=3, without=parts)
    made.noise_sd = 0.5
    for _ in range(2):
        made.finish(made.add(0, PLAYBOOK.propose(made, 0, seed=1)), [0.40, 0.40], extra=CUT_ROWS)
    return made


def test_without_bad_cases_no_symptom_is_answered_and_none_is_told() -> None:
    assert PLAYBOOK.propose(symptomatic(), 1, seed=1).move.startswith("repair:")
    assert PLAYBOOK.propose(symptomatic("bad-cases"), 1, seed=1).move.startswith("bandit:")
    whole, bare = (
        PLAYBOOK.diagnose(made, 2, [row(1, 1.0), row(2, 0.0)]).report
        for made in (symptomatic(), symptomatic("bad-cases"))
    )
    for words in ("Bad cases: 1 of 2 rows", "Answers empty: 40%", "Symptom cut-rows"):
        assert words in whole
        assert words not in bare
    assert "Score 0.400" in bare


def test_without_insights_nothing_that_was_seen_of_a_move_counts() -> None:
    whole, bare = moves(), moves("insights")
    assert whole[:5] == bare[:5], "probes ask, whatever was seen"
    assert whole[5:] != bare[5:]
    assert [move for move in bare if "from" in move or "combine" in move] == []

    def claims(*parts: str) -> list[Insight]:
        made = FakeTree(without=parts)
        made.noise_sd = 0.01
        made.finish(made.add(0, PLAYBOOK.propose(made, 0, seed=1)), [0.30, 0.50])
        return list(PLAYBOOK.diagnose(made, 1, []).insights)

    assert claims()
    assert claims("insights") == []


def test_without_insights_the_bandit_draws_from_the_shipped_priors() -> None:
    def order(made: FakeTree) -> list[str]:
        return [move.name for move in sampled(read_tree(made), BOOK, [], random.Random(1))]

    helped = lesson("rank-up", 0.9, weight=3)
    assert order(tree(helped)) != order(tree())
    assert order(without(tree(helped), "insights")) == order(tree())


def test_without_insights_a_search_neither_starts_from_the_knowledge_base_nor_goes_into_it(tmp_path, monkeypatch):
    monkeypatch.delenv("HPC_TREX_KNOWLEDGE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for parts, kind in (((), StartingKnowledge), (("insights",), type(None))):
        config = FakeTree(without=parts).config
        known = begin_with(config, card(), base_digest="b", wanted=True, replay=None)
        assert isinstance(known, kind)


def test_up_to_the_first_use_of_a_part_the_searches_are_alike() -> None:
    assert moves()[:3] == moves("insights")[:3] == moves("bad-cases")[:3]


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_there_is_nothing_to_take_from_a_researcher_that_uses_neither(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} uses neither"):
        ResearcherSettings(name=name, without=("insights",))


def test_a_part_that_there_is_not_and_one_named_twice_are_refused() -> None:
    for parts in (("tree",), ("insights", "insights")):
        with pytest.raises(ValidationError):
            ResearcherSettings(without=parts)
