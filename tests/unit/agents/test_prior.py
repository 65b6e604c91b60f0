"""What earlier searches taught, as priors of the bandit: a small, fixed calculation that changes the order of moves."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from tree_view import FakeTree, Surface, search

from hpc_trex.agents.bandit import sampled
from hpc_trex.agents.moves import load_playbook
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.agents.prior import MOST_WEIGHT, taught
from hpc_trex.agents.tree_facts import read_tree
from hpc_trex.models.knowledge import Evidence, Lesson

BOOK = load_playbook()


class Taught(FakeTree):
    prior_lessons: tuple[Lesson, ...] = ()


def lesson(move: str, share: float | None, *, weight: float = 1.0, verdict: str = "gain") -> Lesson:
    evidence = Evidence(
        uid="u", search="s", task="t", model="m", size="unknown", date="2026-11-25", verdict="gain", effect=share,
        in_noise=share, share=share, pairs=1, nodes=(1,), likeness=1.0,
    )  # fmt: skip
    body = {"move": move, "verdict": verdict, "share": share, "searches": 1, "rounds": 1, "weight": weight}
    return Lesson.model_validate(body | {"evidence": (evidence,)})


def tree(*lessons: Lesson) -> Taught:
    made = Taught()
    made.prior_lessons = lessons
    return made


def test_a_search_that_starts_from_nothing_has_the_shipped_priors() -> None:
    assert taught(BOOK, FakeTree()) is BOOK
    assert taught(BOOK, tree()) is BOOK


@pytest.mark.parametrize("weight", [0.3, 1.0, 2.5])
def test_each_search_that_is_quite_alike_counts_as_much_as_the_shipped_prior(weight: float) -> None:
    shipped = BOOK.moves["rank-up"].prior
    prior = taught(BOOK, tree(lesson("rank-up", 0.6, weight=weight))).moves["rank-up"].prior
    assert prior.gain == pytest.approx((shipped.gain + weight * 0.6) / (1 + weight))
    assert prior.sd == pytest.approx(shipped.sd / (1 + weight) ** 0.5)


def test_many_searches_never_drown_what_this_search_sees() -> None:
    many = taught(BOOK, tree(lesson("rank-up", 0.6, weight=500))).moves["rank-up"].prior
    assert many.sd == pytest.approx(BOOK.moves["rank-up"].prior.sd / (1 + MOST_WEIGHT) ** 0.5)


def test_nothing_is_taken_from_a_lesson_that_depends_or_is_about_no_move() -> None:
    lessons = [
        lesson("rank-up", None, verdict="depends"),
        lesson("unknown-move", 0.5),
        lesson("clean", 0.5, verdict="told"),
    ]
    assert taught(BOOK, tree(*lessons)).moves == BOOK.moves


def test_the_bandit_draws_a_move_earlier_that_helped_before_and_later_that_hurt() -> None:
    def place(*lessons: Lesson) -> float:
        facts = read_tree(tree(*lessons))
        orders = [sampled(facts, BOOK, [], random.Random(seed)) for seed in range(40)]
        return fmean([move.name for move in order].index("rank-up") for order in orders)

    helped, nothing, hurt = place(lesson("rank-up", 0.8, weight=3)), place(), place(lesson("rank-up", -0.8, weight=3))
    assert helped + 2 < nothing < hurt - 2


def test_the_same_tree_seed_and_lessons_give_the_same_rounds_and_other_lessons_others(monkeypatch) -> None:
    def rounds(*lessons: Lesson) -> list[object]:
        monkeypatch.setattr(Taught, "prior_lessons", lessons)
        monkeypatch.setattr("tree_view.FakeTree", Taught)
        grown, _ = search(PlaybookResearcher(), Surface(3), rounds=10, seed=5)
        assert isinstance(grown, Taught)
        return [node.plan for node in grown.nodes()]

    lessons = [lesson("schedule", 0.9, weight=3), lesson("rank-up", -0.9, weight=3)]
    assert rounds(*lessons) == rounds(*lessons)
    assert rounds(*lessons) != rounds()
