"""The counts of a mixture."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.mixing import mix_counts
from hpc_trex.models import FailureClass

sources = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.floats(1e-3, 1e3), st.integers(1, 5000)), min_size=1, max_size=6
)
totals = st.integers(1, 20_000)


@given(sources, totals)
def test_with_repeat_the_counts_add_up_to_the_total(made: dict[str, tuple[float, int]], total: int) -> None:
    weights = {name: weight for name, (weight, _) in made.items()}
    counts = mix_counts(weights, {name: rows for name, (_, rows) in made.items()}, total, repeat=True)
    norm = sum(weights.values())
    assert sum(counts.values()) == total
    assert all(abs(counts[name] - total * weights[name] / norm) < 1 + 1e-6 for name in weights)


@given(sources, st.none() | totals)
def test_without_repeat_no_source_is_overdrawn_and_the_ratio_holds(
    made: dict[str, tuple[float, int]], total: int | None
) -> None:
    weights = {name: weight for name, (weight, _) in made.items()}
    available = {name: rows for name, (_, rows) in made.items()}
    counts = mix_counts(weights, available, total, repeat=False)
    size, norm = sum(counts.values()), sum(weights.values())
    assert all(counts[name] <= available[name] for name in weights)
    assert 1 <= size <= (total if total is not None else sum(available.values()))
    assert all(abs(counts[name] - size * weights[name] / norm) < 1 + 1e-6 for name in weights)


@given(sources)
def test_without_total_the_mixture_is_as_large_as_one_source_allows(made: dict[str, tuple[float, int]]) -> None:
    weights = {name: weight for name, (weight, _) in made.items()}
    available = {name: rows for name, (_, rows) in made.items()}
    size = sum(mix_counts(weights, available, None, repeat=False).values())
    norm = sum(weights.values())
    assert any((size + 1) * weights[name] / norm > available[name] - 1e-6 * size for name in weights)


def test_equal_weights_of_unequal_sources_take_as_many_rows_of_each() -> None:
    assert mix_counts({"a": 0.5, "b": 0.5}, {"a": 1000, "b": 50}, None, repeat=False) == {"a": 50, "b": 50}


def test_a_weight_of_zero_takes_nothing_and_needs_no_rows() -> None:
    assert mix_counts({"a": 1, "b": 0}, {"a": 7}, None, repeat=False) == {"a": 7, "b": 0}


def test_a_source_without_rows_is_named() -> None:
    with pytest.raises(DataProblem, match="crowd") as caught:
        mix_counts({"web": 1, "crowd": 1}, {"web": 5, "crowd": 0}, None, repeat=False)
    assert caught.value.failure is FailureClass.DATA
    assert "web" in caught.value.hint
