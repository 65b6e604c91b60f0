"""``tpe`` and ``random`` live on what the tree holds, and nothing else."""

from __future__ import annotations

import builtins
from pathlib import Path
from statistics import fmean

import pytest
from tree_view import FakeTree, Surface, card, search

from hpc_trex.agents.apply import USUAL_ORDER
from hpc_trex.agents.dimensions import dimensions, draft_of, point_of
from hpc_trex.agents.moves import load_playbook
from hpc_trex.agents.optuna_researchers import RandomResearcher, TpeResearcher
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.agents.registry import RESEARCHERS, make_researcher
from hpc_trex.agents.reviewer import review
from hpc_trex.agents.tree_facts import read_tree
from hpc_trex.errors import EnvironmentProblem, UsageProblem
from hpc_trex.layout import SearchPaths
from hpc_trex.models import FailureClass, Profile, ResearcherSettings, SearchConfig

BOOK = load_playbook()


@pytest.mark.parametrize("kind", [TpeResearcher, RandomResearcher])
def test_the_same_tree_and_seed_give_the_same_rounds(kind) -> None:
    trees = [search(kind(BOOK), Surface(1), rounds=8, seed=3)[0] for _ in range(2)]
    assert [n.plan for n in trees[0].nodes()] == [n.plan for n in trees[1].nodes()]


@pytest.mark.parametrize("kind", [TpeResearcher, RandomResearcher])
@pytest.mark.parametrize("trusted", [True, False])
def test_rounds_are_new_accepted_and_full_with_others_in_flight_and_failed(kind, trusted) -> None:
    tree = FakeTree(card(trusted=trusted), trials=3, max_nodes=20)
    researcher = kind(BOOK)
    for number in range(12):
        plan = researcher.propose(tree, 0, seed=7)
        assert not tree.is_known(plan)
        assert review(plan, tree) == []
        assert len(plan.trials) == 3
        node = tree.add(0, plan)
        if number % 3 == 0:
            tree.finish(node, [0.3, FailureClass.DIVERGED, 0.4])
        elif number % 3 == 1:
            tree.finish(node, [FailureClass.NODE_FAIL] * 3)


def test_tpe_learns_from_the_tree_where_random_search_cannot() -> None:
    tpe = [search(TpeResearcher(BOOK), Surface(seed), rounds=14, seed=seed)[1] for seed in range(6)]
    luck = [search(RandomResearcher(BOOK), Surface(seed), rounds=14, seed=seed)[1] for seed in range(6)]
    assert fmean(tpe) > fmean(luck)


def test_points_and_plans_are_two_forms_of_one_thing() -> None:
    facts = read_tree(FakeTree())
    space = dimensions(facts, BOOK)
    researcher = RandomResearcher(BOOK)
    study = researcher._study(facts, space, 1)
    for _ in range(30):
        point = researcher._ask(study, space, {})
        back = point_of(draft_of(point, facts, BOOK), space)
        assert back == point


def test_steps_of_a_point_stand_at_their_usual_place() -> None:
    """Conflicts are voted on before the copies, which are the votes, are dropped."""
    facts = read_tree(FakeTree())
    point = {d.name: d.choices[-1] if d.choices else d.low for d in dimensions(facts, BOOK)}
    steps = [step.op for step in draft_of(point, facts, BOOK).data.steps]
    assert steps == sorted(steps, key=USUAL_ORDER.index)
    assert {"dedup", "filter_conflicts"} <= set(steps)


def test_plans_of_another_researcher_are_points_too() -> None:
    """A search may change its Researcher on resume."""
    tree, _ = search(PlaybookResearcher(BOOK), Surface(1), rounds=6, seed=1)
    plan = TpeResearcher(BOOK).propose(tree, 0, seed=1)
    assert plan.move == "tpe"


NOWHERE = SearchPaths(Path("/nowhere"))


def config(name: str) -> SearchConfig:
    return SearchConfig(
        name="s", task="t", model="m", profile=Profile(name="p"), researcher=ResearcherSettings(name=name)
    )


def test_without_optuna_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "optuna":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(EnvironmentProblem) as caught:
        make_researcher(config("tpe"), NOWHERE)
    assert caught.value.hint == "pip install 'hpc-trex[optuna]'"


@pytest.mark.parametrize("name", sorted(set(RESEARCHERS) - {"llm"}))
def test_every_researcher_is_made_by_its_name(name: str) -> None:
    assert make_researcher(config(name), NOWHERE).name == name


def test_an_unknown_researcher_is_refused_with_the_valid_names() -> None:
    settings = config("playbook").researcher.model_copy(update={"name": "oracle"})
    with pytest.raises(UsageProblem, match="oracle") as caught:
        make_researcher(config("playbook").model_copy(update={"researcher": settings}), NOWHERE)
    assert "llm, playbook, random, tpe" in caught.value.hint
