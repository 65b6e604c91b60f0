"""Which elements go into which array, for every size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.sweep.chunks import chunks

NUMBERS = st.sets(st.integers(0, 5000), max_size=300).map(sorted)


@given(elements=NUMBERS, cap=st.integers(1, 120), throttle=st.none() | st.integers(1, 50), live=st.integers(0, 60))
def test_no_array_is_longer_than_the_cap_and_every_element_is_in_one(elements, cap, throttle, live):
    made = chunks(elements, cap, throttle, live)
    assert [number for chunk in made for number in chunk.elements] == elements
    assert all(0 < len(chunk.elements) <= cap for chunk in made)
    assert len(made) == -(-len(elements) // cap), "more arrays than needed"


@given(elements=NUMBERS, cap=st.integers(1, 120), throttle=st.integers(1, 50), live=st.integers(0, 60))
def test_never_more_than_the_throttle_at_once_over_all_arrays(elements, cap, throttle, live):
    """What can run at one time: the live elements with the arrays that do not wait, or one array that waited for all."""
    made = chunks(elements, cap, throttle, live)
    at_once = [chunk for chunk in made if not chunk.waits]
    assert len(at_once) <= 1
    assert sum(chunk.throttle for chunk in at_once) + (live if at_once else 0) <= throttle
    assert all(1 <= chunk.throttle <= throttle for chunk in made)


@pytest.mark.parametrize(
    ("elements", "cap", "throttle", "live", "wanted"),
    [
        ([3], 10, None, 0, [("0", False)]),
        ([0, 1, 2], 10, None, 0, [("0-2", False)]),
        ([0, 1, 2], 10, 2, 0, [("0-2%2", False)]),
        ([7, 9, 20], 2, 4, 1, [("0-1%2", False), ("0%1", True)]),
        ([0, 1], 10, 2, 2, [("0-1%2", True)]),
        ([0, 1], 10, 3, 2, [("0-1%1", False)]),
        ([], 10, 3, 0, []),
    ],
)
def test_the_words_of_sbatch(elements, cap, throttle, live, wanted):
    assert [(chunk.indices, chunk.waits) for chunk in chunks(elements, cap, throttle, live)] == wanted


def test_a_cluster_without_arrays_is_no_size():
    with pytest.raises(ValueError, match="at least one"):
        chunks([1], 0)
