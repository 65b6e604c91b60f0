"""Rows paired with the parent's: what was fixed, what broke, and whether that is more than chance."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.agents.case_lines import case_lines, movement_lines
from hpc_trex.agents.movement import Before, case_report, exact_p, outcomes
from hpc_trex.agents.protocol import Sample
from hpc_trex.models import MetricSpec, Source, TaskCard
from hpc_trex.models.cases import CaseReport

ROWS = Source(path="rows.jsonl")


def card(metric: str = "exact_match", *, higher: bool = True) -> TaskCard:
    spec = MetricSpec.model_validate({"name": metric, "higher_is_better": higher})
    return TaskCard(name="t", sources={"a": ROWS}, dev=ROWS, test=ROWS, metric=spec)


def row(number: int, score: float, answer: str = "x", flags: tuple[str, ...] = (), prompt: str = "") -> Sample:
    return Sample(f"dev:{number}", prompt or f"question {number}", answer, "y", score, flags)


def compared(before: list[Sample], now: list[Sample], task: TaskCard | None = None) -> CaseReport:
    task = task or card()
    return case_report(task, 2, 1, outcomes(now, task), Before(1, 3, outcomes(before, task)))


def test_rows_are_fixed_broken_or_as_they_were() -> None:
    before = [row(1, 1.0), row(2, 1.0), row(3, 0.0, "", ("empty",)), row(4, 0.0, "", ("empty",)), row(5, 0.0)]
    now = [row(1, 1.0), row(2, 0.0, "was right"), row(3, 1.0), row(4, 0.0, "z"), row(5, 0.0)]
    cases = compared(before, now)
    moved = cases.movement
    assert moved is not None
    assert (moved.parent, moved.parent_trial, moved.pairs, moved.unpaired) == (1, 3, 5, 0)
    assert (moved.fixed, moved.broken, moved.still_bad, moved.still_right) == (1, 1, 2, 1)
    assert {(one.before, one.now): one.rows for one in moved.transitions} == {
        ("right", "content"): 1,
        ("format", "right"): 1,
        ("format", "content"): 1,
        ("content", "content"): 1,
    }
    assert [(one.row_id, one.before, one.now) for one in moved.examples] == [("dev:2", "x", "was right")]
    assert (moved.test, moved.p_value) == ("mcnemar", 1.0)
    assert [(one.group, one.rows) for one in cases.groups] == [("content", 3)]


def test_the_p_value_is_that_of_the_binomial() -> None:
    # R: binom.test(1, 10)$p.value, mcnemar.exact of (10, 2); scipy.stats.binomtest gives the same.
    assert exact_p(1, 9) == pytest.approx(0.021484375)
    assert exact_p(10, 2) == pytest.approx(0.03857421875)
    assert exact_p(0, 0) == exact_p(4, 4) == 1.0
    assert exact_p(2000, 0) < 1e-300


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_p_value_is_symmetric_bounded_and_the_sum_of_both_tails(up: int, down: int) -> None:
    p = exact_p(up, down)
    assert 0 < p <= 1
    assert p == exact_p(down, up)
    count, low = up + down, min(up, down)
    tails = sum(comb(count, k) for k in range(count + 1) if k <= low or k >= count - low)
    assert p == pytest.approx(min(1.0, tails / 2**count))


def test_a_graded_metric_is_tested_by_the_signs_of_its_differences() -> None:
    before = [row(n, 0.5) for n in range(10)]
    now = [row(n, 0.6) for n in range(9)] + [row(9, 0.4)]
    moved = compared(before, now, card("rouge1")).movement
    assert moved is not None
    assert (moved.test, moved.up, moved.down) == ("sign", 9, 1)
    assert moved.p_value == pytest.approx(0.021484375)
    assert moved.gain == pytest.approx(0.08)
    assert (moved.fixed, moved.broken) == (0, 0)  # the bar lies at 0.3


def test_where_less_is_better_a_fall_is_a_gain() -> None:
    before, now = [row(n, 0.9) for n in range(4)], [row(n, 0.1) for n in range(4)]
    moved = compared(before, now, card(higher=False)).movement
    assert moved is not None
    assert (moved.fixed, moved.broken, moved.up, moved.down) == (4, 0, 4, 0)
    assert moved.gain == pytest.approx(0.8)


def test_one_bar_holds_for_both_rounds() -> None:
    """The best row of the parent is twice the round's: alone, the round's rows would all be good."""
    cases = compared([row(1, 1.0), row(2, 0.4)], [row(1, 0.4), row(2, 0.4)], card("rouge1"))
    assert cases.bar == 0.5
    assert cases.bad == 2
    assert cases.movement is not None
    assert (cases.movement.broken, cases.movement.still_bad) == (1, 1)


def test_rows_of_another_evaluation_are_not_compared() -> None:
    cases = compared([row(1, 1.0, prompt="another question"), row(2, 1.0)], [row(1, 1.0), row(2, 0.0)])
    assert cases.movement is None
    assert "1 of 2 rows" in cases.not_compared
    assert "another evaluation" in cases.not_compared
    assert cases.bad == 1
    cases = compared([row(7, 1.0)], [row(1, 1.0)])
    assert cases.not_compared == "node 1 answered none of these rows"


def test_rows_without_a_partner_are_counted_and_left_out() -> None:
    moved = compared([row(1, 0.0), row(2, 0.0)], [row(2, 1.0), row(3, 1.0), row(4, 1.0)]).movement
    assert moved is not None
    assert (moved.pairs, moved.unpaired, moved.fixed) == (1, 3, 1)


def test_examples_of_broken_rows_are_few_short_and_of_each_group() -> None:
    before = [row(n, 1.0) for n in range(20)]
    now = [row(n, 0.0, "long " * 1000) for n in range(18)] + [row(n, 0.0, "", ("empty",)) for n in (18, 19)]
    moved = compared(before, now).movement
    assert moved is not None
    assert moved.broken == 20
    assert [one.group for one in moved.examples] == ["content", "format", "content", "format", "content"]
    assert all(len(one.now) <= 200 for one in moved.examples)


def test_the_words_say_what_moved_and_whether_it_may_be_chance() -> None:
    before = [row(n, 0.0, "", ("empty",)) for n in range(12)] + [row(12, 1.0, "y")]
    now = [row(n, 1.0, "y") for n in range(12)] + [row(12, 0.0, "q\x1b[31m")]
    lines = case_lines(compared(before, now), now, ())
    text = "\n".join(lines)
    assert "Bad cases: 1 of 13 rows." in text
    assert "Against node 1 row by row: 12 fixed, 1 broken, 0 still bad, 0 still right" in text
    assert "McNemar's exact test p = 0.0034: more than chance" in text
    assert "Moved: format to right 12, right to content 1." in text
    assert "- broken (content), dev:12: 'question 12' gave 'q\\x1b[31m', before 'y', wanted 'y'" in text
    assert "may be chance" in "\n".join(movement_lines(compared(now[:1], before[:1])))


SCORES = st.sampled_from([0.0, 1.0])


@given(st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=60))
def test_the_counts_add_up_and_agree_with_the_scores(pairs: list[tuple[float, float]]) -> None:
    before = [row(n, then) for n, (then, _) in enumerate(pairs)]
    now = [row(n, score) for n, (_, score) in enumerate(pairs)]
    cases = compared(before, now)
    moved = cases.movement
    assert moved is not None
    assert moved.fixed + moved.broken + moved.still_bad + moved.still_right == len(pairs)
    assert sum(one.rows for one in moved.transitions) + moved.still_right == len(pairs)
    assert moved.still_bad + moved.broken == cases.bad == sum(one.rows for one in cases.groups)
    assert moved.gain == pytest.approx((moved.fixed - moved.broken) / len(pairs))
    back = compared(now, before).movement
    assert back is not None
    assert (back.fixed, back.broken, back.p_value) == (moved.broken, moved.fixed, moved.p_value)
