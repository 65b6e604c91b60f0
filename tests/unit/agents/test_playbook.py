"""The playbook's order: probes, then the winners together, then a bandit; repairs when something fails."""

from __future__ import annotations

import json
import random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_view import FakeTree, Surface, card, search, uct_parent

from hpc_trex.agents.evidence import gains
from hpc_trex.agents.moves import load_playbook
from hpc_trex.agents.optuna_researchers import RandomResearcher
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.agents.probes import quota
from hpc_trex.agents.protocol import NothingToPropose
from hpc_trex.agents.reviewer import review
from hpc_trex.agents.tree_facts import read_tree
from hpc_trex.models import FailureClass, NodeState, RoundPlan

BOOK = load_playbook()
PLAYBOOK = PlaybookResearcher(BOOK)


def ops(plan: RoundPlan) -> set[str]:
    return {step.op for step in plan.data.steps}


def test_it_finds_clearly_better_plans_than_random_search() -> None:
    """8 rounds of 2 trials on 20 made-up tasks; compared is the true worth of what each would choose by its noise."""
    random_search = RandomResearcher(BOOK)
    ours = [search(PLAYBOOK, Surface(seed), rounds=8, seed=seed)[1] for seed in range(20)]
    theirs = [search(random_search, Surface(seed), rounds=8, seed=seed)[1] for seed in range(20)]
    assert fmean(ours) > fmean(theirs) + 0.035
    assert sum(a > b for a, b in zip(ours, theirs, strict=True)) >= 14


def test_five_rounds_are_enough_to_gain_over_the_default_plan() -> None:
    for seed in range(10):
        surface = Surface(seed)
        tree, worth = search(PLAYBOOK, surface, rounds=5, seed=seed)
        plan = tree.node(1).plan
        assert worth > surface.true(plan, plan.trials[0])


def test_the_same_tree_and_seed_give_the_same_rounds() -> None:
    trees = [search(PlaybookResearcher(), Surface(3), rounds=10, seed=5)[0] for _ in range(2)]
    plans = [[node.plan for node in tree.nodes()] for tree in trees]
    assert plans[0] == plans[1]


def test_another_seed_gives_another_search() -> None:
    trees = [search(PLAYBOOK, Surface(3), rounds=12, seed=seed)[0] for seed in (1, 2)]
    assert [n.move for n in trees[0].nodes()] != [n.move for n in trees[1].nodes()]


@pytest.mark.parametrize("trials", [1, 2, 4])
def test_forty_rounds_hold_no_trial_twice_and_fill_every_round(trials: int) -> None:
    tree, _ = search(PLAYBOOK, Surface(1), rounds=40, seed=9, trials=trials)
    seen = [identity for node in tree.nodes()[1:] for identity in tree.identities(node.plan)]
    rounds = [set(tree.identities(node.plan)) for node in tree.nodes()[1:]]
    for number, identities in enumerate(rounds):
        assert not any(identities <= earlier for earlier in rounds[:number])
    assert len(seen) - len(set(seen)) <= 2  # a trial may be reused beside a new one, a round never
    assert all(len(node.plan.trials) == trials for node in tree.nodes()[1:])


def test_first_comes_the_default_plan_with_a_contrast() -> None:
    plan = PLAYBOOK.propose(FakeTree(), 0, seed=0)
    assert plan.move == "probe:default"
    assert [trial.label for trial in plan.trials] == ["default", "lr-up"]
    assert ops(plan) == {"load"}


def grown(rounds: list[tuple[float, float]]) -> FakeTree:
    """A tree whose rounds were all probed from the root, with these scores."""
    tree = FakeTree()
    tree.noise_sd = 0.01
    for scores in rounds:
        tree.finish(tree.add(0, PLAYBOOK.propose(tree, 0, seed=1)), list(scores))
    return tree


def test_after_the_probes_the_winners_are_combined_and_losers_left_out() -> None:
    tree = grown([(0.40, 0.50), (0.45, 0.38), (0.60, 0.59)])
    moves = [node.move for node in tree.nodes()[1:]]
    assert moves == ["probe:default", "probe:clean", "probe:clean+wrong-answers"]
    plan = PLAYBOOK.propose(tree, 0, seed=1)
    assert plan.move.startswith("combine:")
    assert {"dedup", "filter_similar", "filter_loss"} <= ops(plan)
    first = plan.trials[0].train
    assert first.learning_rate == pytest.approx(3e-3)  # lr-up gained 0.10
    assert first.epochs == 3  # epochs-up lost 0.07
    assert "+0.100" in plan.hypothesis


def test_no_round_is_a_combination_before_the_probes_are_used_up() -> None:
    for seed in range(5):
        tree, _ = search(PLAYBOOK, Surface(seed), rounds=10, seed=seed)
        kinds = [node.move.partition(":")[0] for node in tree.nodes()[1:]]
        assert kinds[: quota(10)] == ["probe"] * quota(10)
        assert "probe" not in kinds[quota(10) :]
        assert "combine" in kinds or "bandit" in kinds


def test_gains_are_read_from_pairs_that_differ_by_one_move() -> None:
    """A child of the root gains the whole worth of training: that must not be credited to its move."""
    tree = grown([(0.40, 0.50), (0.45, 0.38), (0.60, 0.59)])
    found = {(gain.move, gain.node): round(gain.gain, 6) for gain in gains(read_tree(tree), BOOK)}
    assert found == {
        ("lr-up", 1): 0.10,
        ("clean", 2): 0.05,
        ("epochs-up", 2): -0.07,
        ("wrong-answers", 3): 0.15,
        ("harder", 3): -0.01,
    }


def test_lower_scores_win_where_the_metric_says_so() -> None:
    tree = FakeTree(card(higher=False))
    tree.noise_sd = 0.01
    tree.finish(tree.add(0, PLAYBOOK.propose(tree, 0, seed=1)), [0.9, 0.7])
    assert [(gain.move, round(gain.gain, 6)) for gain in gains(read_tree(tree), BOOK)] == [("lr-up", 0.2)]


def test_rounds_in_flight_are_not_proposed_again() -> None:
    tree = FakeTree(max_nodes=20)
    plans = []
    for seed in range(6):
        plan = PLAYBOOK.propose(tree, 0, seed=seed)
        assert not tree.is_known(plan)
        plans.append(plan)
        tree.add(0, plan)
    assert len({json.dumps(tree.identities(plan)) for plan in plans}) == 6
    assert len({plan.move for plan in plans}) == 6


@pytest.mark.parametrize(
    ("failure", "check"),
    [
        (FailureClass.DIVERGED, lambda new, old: new.learning_rate == pytest.approx(old.learning_rate / 3, rel=0.01)),
        (FailureClass.TIMEOUT, lambda new, old: new.epochs == old.epochs / 2),
        (FailureClass.OOM, lambda new, old: new.micro_batch_size == 8 and new.batch_size == old.batch_size),
    ],
)
def test_a_failed_child_is_tried_again_with_a_repair(failure, check) -> None:
    tree = FakeTree()
    first = PLAYBOOK.propose(tree, 0, seed=1)
    tree.finish(tree.add(0, first), [failure, failure])
    plan = PLAYBOOK.propose(tree, 0, seed=1)
    assert plan.move.startswith("repair:")
    assert check(plan.trials[0].train, first.trials[0].train)
    assert f"failed with {failure}" in plan.hypothesis


def test_an_empty_training_set_loosens_the_filters() -> None:
    tree = grown([(0.4, 0.5)])
    clean = PLAYBOOK.propose(tree, 0, seed=1)
    tree.finish(tree.add(0, clean), [FailureClass.DATA, FailureClass.DATA])
    plan = PLAYBOOK.propose(tree, 0, seed=1)
    assert plan.move == "repair:looser-filters"
    old, new = (next(s for s in p.data.steps if s.op == "filter_similar") for p in (clean, plan))
    assert new.min_similarity < old.min_similarity


def test_a_repair_that_fails_too_is_repeated_once_and_then_given_up() -> None:
    tree = FakeTree(max_nodes=20)
    moves = []
    for _ in range(4):
        plan = PLAYBOOK.propose(tree, 0, seed=1)
        moves.append(plan.move)
        tree.finish(tree.add(0, plan), [FailureClass.DIVERGED] * 2)
    assert moves[1:3] == ["repair:slower", "repair:slower"]
    assert moves[3] != "repair:slower"


def test_lost_nodes_call_for_no_repair() -> None:
    tree = FakeTree()
    tree.finish(tree.add(0, PLAYBOOK.propose(tree, 0, seed=1)), [FailureClass.NODE_FAIL] * 2)
    assert not PLAYBOOK.propose(tree, 0, seed=1).move.startswith("repair:")


@pytest.mark.parametrize(
    ("rates", "move"),
    [
        ({"empty": 0.4}, "repair:learn-the-form"),
        ({"truncated": 0.2}, "repair:learn-the-form"),
        ({"train_loss": 0.1, "holdout_loss": 0.9}, "repair:stop-earlier"),
        ({"train_truncated": 0.3}, "repair:room-for-rows"),
    ],
)
def test_a_symptom_of_the_parent_calls_for_its_remedy(rates, move) -> None:
    tree = FakeTree(max_nodes=2)
    tree.noise_sd = 0.05
    tree.finish(tree.add(0, PLAYBOOK.propose(tree, 0, seed=1)), [0.5, 0.45], extra=rates)
    plan = PLAYBOOK.propose(tree, 1, seed=1)
    assert plan.move == move
    assert "Seen in node 1" in plan.hypothesis


def test_from_a_parent_that_is_clearly_behind_it_builds_on_the_best_and_says_so() -> None:
    tree = grown([(0.40, 0.39), (0.55, 0.54), (0.30, 0.29)])
    plan = PLAYBOOK.propose(tree, 3, seed=4)
    assert ":from-2" in plan.move
    assert "filter_loss" not in ops(plan)


def test_it_ends_when_every_move_is_used_up() -> None:
    """One source, one trial, no node but the root to build upon: the moves are finite, so is the search."""
    book = BOOK._replace(moves={name: BOOK.moves[name] for name in ("lr-up", "dedup")}, repairs=())
    tree = FakeTree(card(trusted=False), trials=1, max_nodes=50)
    researcher = PlaybookResearcher(book)

    def exhaust() -> None:
        for seed in range(200):
            tree.finish(tree.add(0, researcher.propose(tree, 0, seed=seed)), [0.3])

    with pytest.raises(NothingToPropose):
        exhaust()
    assert 3 < len(tree.nodes()) < 60


def test_every_proposal_prints_its_rule_and_its_exact_changes() -> None:
    tree, _ = search(PLAYBOOK, Surface(2), rounds=12, seed=2)
    for node in tree.nodes()[1:]:
        kind = node.move.partition(":")[0]
        assert node.plan.hypothesis.lower().startswith(kind)
        assert "Changes: " in node.plan.hypothesis
        assert node.plan.expected_effect


@pytest.mark.parametrize(("max_nodes", "rounds"), [(1, 1), (2, 1), (3, 2), (5, 3), (8, 3), (12, 5), (20, 8), (100, 8)])
def test_probes_take_a_fixed_share_of_the_budget(max_nodes: int, rounds: int) -> None:
    assert quota(max_nodes) == rounds


OUTCOME = st.one_of(
    st.floats(0, 1).map(lambda x: round(x, 3)),
    st.sampled_from([FailureClass.DIVERGED, FailureClass.OOM, FailureClass.DATA, FailureClass.NODE_FAIL]),
)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10_000), trials=st.integers(1, 5), trusted=st.booleans())
def test_whatever_happened_a_proposal_is_new_valid_and_accepted(data, seed, trials, trusted) -> None:
    tree = FakeTree(card(trusted=trusted), trials=trials, max_nodes=data.draw(st.integers(1, 20)))
    rng = random.Random(seed)
    for _ in range(data.draw(st.integers(1, 12))):
        parent = rng.choice([node.id for node in tree.nodes() if node.state is not NodeState.PENDING])
        plan = PLAYBOOK.propose(tree, parent, seed=rng.randrange(100))
        assert RoundPlan.model_validate_json(plan.model_dump_json()) == plan
        assert not tree.is_known(plan)
        assert review(plan, tree) == []
        assert len(plan.trials) <= trials
        number = tree.add(parent, plan)
        if data.draw(st.booleans()):
            tree.finish(number, [data.draw(OUTCOME) for _ in plan.trials])


def test_the_selection_of_these_tests_visits_more_than_one_branch() -> None:
    tree, _ = search(PLAYBOOK, Surface(4), rounds=12, seed=4)
    assert len({node.parent for node in tree.nodes()[1:]}) > 3
    assert uct_parent(tree) in {node.id for node in tree.nodes()}
