"""Axes, tick marks and colours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.report.charts import axis, best_so_far, colour, staircase, ticks

sane = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)


@given(sane, sane)
def test_tick_marks_are_few_and_inside(a, b):
    low, high = sorted((a, b))
    marks = ticks(low, high)
    assert len(marks) <= 12
    slack = (high - low) * 1e-6 + 1e-9
    assert all(low - slack <= mark <= high + slack for mark in marks)


def test_tick_marks_are_round_numbers():
    assert ticks(0.02, 0.98) == [0.2, 0.4, 0.6, 0.8]
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(3, 3) == [3]


@given(st.lists(sane, max_size=20))
def test_an_axis_holds_all_its_values(values):
    scale = axis(values, 10, 200)
    assert scale.low < scale.high
    assert all(10 <= scale.at(value) <= 200 for value in values)


def test_an_axis_with_a_floor_does_not_go_below_it():
    assert axis([0.0, 5.0], 0, 100, floor=0.0).low == 0


def test_colours_go_from_dark_to_light_and_clip():
    assert colour(0) == colour(-1) == "#440154"
    assert colour(1) == colour(2) == "#fde725"
    assert colour(0.5) == "#21918c"


@pytest.mark.parametrize(("higher", "best"), [(True, [(0, 1), (2, 3)]), (False, [(0, 1), (1, 0)])])
def test_best_so_far_keeps_only_what_was_better_than_all_before(higher, best):
    assert best_so_far([(0, 1), (1, 0), (2, 3), (3, 3)], higher_is_better=higher) == best


def test_the_staircase_goes_on_to_the_end_of_the_search():
    x, y = axis([0, 10], 0, 100, pad=0, floor=0), axis([0, 1], 100, 0)
    path = staircase([(0, 0.0), (5, 1.0)], 10, x, y)
    assert path.startswith(f"M{x.at(0)} {y.at(0.0)}H{x.at(5)}V{y.at(1.0)}")
    assert path.endswith(f"H{x.at(10)}")
    assert staircase([], 10, x, y) == ""
