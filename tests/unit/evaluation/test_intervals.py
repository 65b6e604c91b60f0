"""Bootstrap intervals: they hold the value, stay in range, and do not claim a certainty that few rows cannot give."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_trex.evaluation.intervals import difference_interval, score_interval
from hpc_trex.evaluation.metrics import AnswerSet
from hpc_trex.models import EvalSettings

QUICK = EvalSettings(bootstrap=200)


def mean_of(scores):
    return AnswerSet("exact_match", (), scores, [str(i) for i in range(len(scores))], [""] * len(scores))


def labelled(pairs):
    references, predictions = [list(side) for side in zip(*pairs, strict=True)]
    return AnswerSet("macro_f1", ("a", "b"), [float(r == p) for r, p in pairs], references, predictions)


scores = st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=40)
pairs = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["a", "b", ""])), min_size=1, max_size=40)


@settings(deadline=None)
@given(scores, st.integers(0, 2**31), st.floats(0.51, 0.999))
def test_an_interval_holds_the_mean_and_stays_between_0_and_1(values, seed, confidence):
    score = score_interval(mean_of(values), EvalSettings(bootstrap=200, seed=seed, confidence=confidence))
    assert score.value == pytest.approx(sum(values) / len(values))
    assert 0 <= score.low <= score.value <= score.high <= 1
    assert score.n == len(values)


@settings(deadline=None)
@given(pairs)
def test_an_interval_of_macro_f1_holds_its_value_and_stays_between_0_and_1(rows):
    score = score_interval(labelled(rows), QUICK)
    assert 0 <= score.low <= score.value <= score.high <= 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_a_paired_difference_changes_its_sign_when_the_models_are_swapped(rows):
    left, right = (mean_of(list(side)) for side in zip(*rows, strict=True))
    there, back = difference_interval(left, right, QUICK), difference_interval(right, left, QUICK)
    assert there.value == pytest.approx(-back.value, abs=1e-9)
    assert there.low == pytest.approx(-back.high, abs=1e-9)
    assert there.high == pytest.approx(-back.low, abs=1e-9)
    assert -1 <= there.low <= there.value <= there.high <= 1


def test_the_same_seed_gives_the_same_interval_and_another_seed_another_one():
    answers = mean_of([0.0, 0.2, 0.9, 1.0, 0.4, 0.7, 0.1])
    assert score_interval(answers, QUICK) == score_interval(answers, QUICK)
    assert score_interval(answers, QUICK) != score_interval(answers, EvalSettings(bootstrap=200, seed=9))


def test_a_bootstrap_interval_is_near_the_normal_one_where_there_are_many_rows():
    score = score_interval(mean_of([1.0] * 300 + [0.0] * 100), EvalSettings(bootstrap=4000))
    half = 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert score.low == pytest.approx(0.75 - half, abs=0.01)
    assert score.high == pytest.approx(0.75 + half, abs=0.01)


def test_pairing_narrows_the_difference_of_two_models_that_err_alike():
    base = mean_of([1.0, 0.0] * 50)
    better = mean_of([1.0, 0.0] * 45 + [1.0, 1.0] * 5)
    paired = difference_interval(base, better, QUICK)
    alone = score_interval(base, QUICK)
    assert paired.value == pytest.approx(0.05)
    assert paired.low > 0
    assert paired.high - paired.low < (alone.high - alone.low) / 2


def test_one_row_proves_next_to_nothing():
    right = score_interval(mean_of([1.0]), QUICK)
    assert (right.low, right.high) == (pytest.approx(0.025), 1.0)


def test_answers_that_are_all_right_get_the_exact_interval_not_a_point():
    from scipy.stats import binomtest

    score = score_interval(mean_of([1.0] * 50), QUICK)
    exact = binomtest(50, 50).proportion_ci(0.95, method="exact")
    assert (score.low, score.high) == (pytest.approx(exact.low), 1.0)
    none = score_interval(mean_of([0.0] * 50), QUICK)
    assert (none.low, none.high) == (0.0, pytest.approx(1 - exact.low))


def test_two_equal_models_differ_by_zero_within_an_interval_that_shrinks_with_the_rows():
    few, many = (difference_interval(mean_of([1.0] * n), mean_of([1.0] * n), QUICK) for n in (5, 500))
    assert few.value == many.value == 0
    assert few.low == pytest.approx(-few.high)
    assert many.high < 0.01 < few.high


def test_no_rows_and_other_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        score_interval(mean_of([]), QUICK)
    with pytest.raises(ValueError, match="same rows"):
        difference_interval(mean_of([1.0]), mean_of([1.0, 0.0]), QUICK)


def test_rows_that_score_less_than_nothing_are_within_their_interval():
    """LawBench's prison terms: 1 - |ln((wanted + 1) / (found + 1))| / ln 216 has no lower end."""
    bad, good = mean_of([-4.0, -3.0, -3.5, 0.5] * 5), mean_of([1.0, 0.5, 0.75, 1.0] * 5)
    score = score_interval(bad, QUICK)
    assert -4.0 <= score.low < score.value == -2.5 < score.high < -1.0
    gain = difference_interval(bad, good, QUICK)
    assert 1.0 < gain.low < gain.value == 3.3125 < gain.high <= 5.0
    back = difference_interval(good, bad, QUICK)
    assert (back.low, back.high) == (pytest.approx(-gain.high), pytest.approx(-gain.low))
    same = score_interval(mean_of([-2.0] * 10), QUICK)
    assert same.low == same.value == -2.0 < same.high < 0
