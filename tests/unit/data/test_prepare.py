"""Running a data recipe: every operator, the manifest, the block list, and what stays the same under a seed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpc_trex.data import words
from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators import base
from hpc_trex.data.prepare import prepare
from hpc_trex.ftbench.rows import Row
from hpc_trex.models import FailureClass, Heartbeat
from tests.unit.data.recipes import Bench, prepared

LOAD = [{"op": "load", "source": "a"}, {"op": "load", "source": "b"}]


def _quiet(heartbeat: Heartbeat) -> None:
    assert heartbeat.phase == "preparing"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "bench")
    bench.source("a", [(f"question {n}", f"answer {n}") for n in range(40)])
    bench.source("b", [(f"other {n} longer", "x" * (n + 1)) for n in range(20)])
    return bench


def _ids(bench: Bench, steps: list[dict[str, object]], seed: int = 0) -> list[str]:
    spec = bench.spec(steps, seed)
    prepare(spec, _quiet)
    return [row.row_id for row in prepared(spec)]


def test_loaded_rows_come_out_formatted_with_a_manifest(bench: Bench) -> None:
    spec = bench.spec(LOAD)
    manifest = prepare(spec, _quiet)
    rows = prepared(spec)
    assert rows[0]._asdict() == {"row_id": "a:1", "prompt": "question 0", "answer": " answer 0", "source": "a"}
    assert manifest["rows"] == len(rows) == 60
    assert manifest["rows_by_source"] == {"a": 40, "b": 20}
    assert (manifest["format"], manifest["ordered"], manifest["holdout_rows"]) == ("plain", False, 0)
    assert (manifest["licence"], manifest["dropped"]) == ("CC0-1.0", {})
    assert json.loads(Path(f"{spec.data_dir}/manifest.json").read_text()) == manifest
    assert not [path for path in Path(spec.data_dir or "").parent.iterdir() if path.name != "data"]


def test_load_takes_the_first_rows_up_to_a_limit(bench: Bench) -> None:
    assert _ids(bench, [{"op": "load", "source": "a", "limit": 3}]) == ["a:1", "a:2", "a:3"]


def test_mix_takes_counted_rows_of_each_source(bench: Bench) -> None:
    ids = _ids(bench, [*LOAD, {"op": "mix", "weights": {"a": 3, "b": 1}, "total": 20}])
    assert sum(one.startswith("a:") for one in ids) == 15
    assert len(set(ids)) == 20


def test_mix_with_repeat_uses_every_row_before_it_repeats_one(bench: Bench) -> None:
    ids = _ids(bench, [*LOAD, {"op": "mix", "weights": {"b": 1}, "total": 50, "repeat": True}])
    counts = {one: ids.count(one) for one in ids}
    assert len(ids) == 50
    assert sorted(counts.values()) == [2] * 10 + [3] * 10


def test_filter_length_and_filter_regex_keep_what_they_say(bench: Bench) -> None:
    ids = _ids(bench, [*LOAD, {"op": "filter_length", "column": "answer", "min_chars": 9, "max_chars": 12}])
    assert ids == [f"a:{n}" for n in range(11, 41)] + [f"b:{n}" for n in range(9, 13)]
    assert len(_ids(bench, [*LOAD, {"op": "filter_regex", "pattern": "^other"}])) == 20
    assert len(_ids(bench, [*LOAD, {"op": "filter_regex", "pattern": "^other", "keep": False}])) == 40


def test_a_bad_pattern_is_a_data_failure(bench: Bench) -> None:
    with pytest.raises(DataProblem, match="bad pattern") as caught:
        prepare(bench.spec([*LOAD, {"op": "filter_regex", "pattern": "("}]), _quiet)
    assert caught.value.failure is FailureClass.DATA


def test_dedup_keeps_the_first_of_rows_equal_but_for_case_and_blanks(bench: Bench) -> None:
    bench.source("a", [("Q  one", "yes"), ("q one", "YES"), ("q one", "no"), ("q two", "yes")])
    assert _ids(bench, [LOAD[0], {"op": "dedup"}]) == ["a:1", "a:3", "a:4"]
    assert _ids(bench, [LOAD[0], {"op": "dedup", "columns": ["prompt"]}]) == ["a:1", "a:4"]


def test_filter_conflicts_keeps_the_majority_or_nothing(bench: Bench) -> None:
    bench.source("a", [("x", "1"), ("x", "1"), ("x", "2"), ("y", "1"), ("y", "2"), ("z", "9")])
    assert _ids(bench, [LOAD[0], {"op": "filter_conflicts"}]) == ["a:1", "a:2", "a:6"]


def test_filter_similar_keeps_prompts_like_the_reference(bench: Bench) -> None:
    bench.source("trusted", [(f"sort the list {n}", "x") for n in range(9)])
    bench.source("a", [("sort the list 77", "x"), ("buy cheap watches now", "x"), ("sort a list", "x")])
    step = {"op": "filter_similar", "reference": "trusted", "min_similarity": 0.5}
    assert _ids(bench, [LOAD[0], step]) == ["a:1"]
    with pytest.raises(DataProblem, match="no training source 'trustd'"):
        prepare(bench.spec([LOAD[0], step | {"reference": "trustd"}]), _quiet)


def test_sample_draws_without_repeating(bench: Bench) -> None:
    assert len(set(_ids(bench, [*LOAD, {"op": "sample", "n": 30}]))) == 30
    assert len(_ids(bench, [*LOAD, {"op": "sample", "fraction": 0.1}])) == 6
    assert len(_ids(bench, [*LOAD, {"op": "sample", "n": 1000}])) == 60


def test_split_holds_out_whole_prompts(bench: Bench) -> None:
    bench.source("a", [(f"q {n // 3}", str(n)) for n in range(60)])
    spec = bench.spec([LOAD[0], {"op": "split", "holdout_fraction": 0.2}])
    manifest = prepare(spec, _quiet)
    rows, held = prepared(spec), prepared(spec, "holdout")
    assert manifest["holdout_rows"] == len(held) == 12
    assert len(rows) == 48
    assert not {row.prompt for row in rows} & {row.prompt for row in held}


def test_one_prompt_cannot_be_split(bench: Bench) -> None:
    bench.source("a", [("same", "1"), ("SAME", "2")])
    with pytest.raises(DataProblem, match="split"):
        prepare(bench.spec([LOAD[0], {"op": "split"}]), _quiet)


def test_order_by_length_holds_until_rows_are_drawn_again(bench: Bench) -> None:
    step = {"op": "order", "by": "length", "descending": True}
    spec = bench.spec([*LOAD, step, {"op": "dedup"}])
    assert prepare(spec, _quiet)["ordered"] is True
    lengths = [len(row.prompt) + len(row.answer) for row in prepared(spec)]
    assert lengths == sorted(lengths, reverse=True)
    assert prepare(bench.spec([*LOAD, step, {"op": "sample", "n": 50}]), _quiet)["ordered"] is True
    mixed = bench.spec([*LOAD, step, {"op": "mix", "weights": {"a": 1, "b": 1}}])
    assert prepare(mixed, _quiet)["ordered"] is False


def test_rows_that_are_evaluated_on_are_dropped_whatever_the_recipe_says(bench: Bench) -> None:
    bench.block(["QUESTION  3", "other 5 longer"])
    spec = bench.spec([*LOAD, {"op": "split", "holdout_fraction": 0.4}])
    manifest = prepare(spec, _quiet)
    left = {row.row_id for row in (*prepared(spec), *prepared(spec, "holdout"))}
    assert len(left) == 58
    assert not left & {"a:4", "b:6"}
    steps = manifest["steps"]
    assert isinstance(steps, list)
    assert steps[-1]["op"] == "decontaminate"


def test_writing_a_row_anew_hides_no_prompt_of_the_test(bench: Bench) -> None:
    """A short prompt is matched whole: one with a word before it is another text, of the same row."""
    bench.block(["question 3"])
    convert = {"op": "convert", "prompt": "Q: {{ prompt }}"}
    spec = bench.spec([*LOAD, convert, {"op": "split", "holdout_fraction": 0.4}])
    manifest = prepare(spec, _quiet)
    left = {row.row_id for row in (*prepared(spec), *prepared(spec, "holdout"))}
    assert len(left) == 59
    assert "a:4" not in left
    assert manifest["steps"][-1]["op"] == "decontaminate"  # type: ignore[index]


def test_rows_too_long_for_one_arrow_column_go_in_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(base, "BATCH_SIGNS", 100)
    rows = [Row(f"a:{n}", f"words of row {n} " * (n % 9), "y", "a") for n in range(60)]
    data = base.from_rows(rows, tmp_path)
    assert data.data.num_rows == 60
    assert [Row(*row) for row in base.texts(data, *Row._fields)] == rows
    parts = list(words.batches(data, "prompt"))
    assert len(parts) > 10
    assert [text for (part,) in parts for text in part.to_pylist()] == [row.prompt for row in rows]
    split = words.Splitter()
    counts = [count for (part,) in parts for count in np.diff(split(part).offsets).tolist()]
    assert counts == [4 * (n % 9) for n in range(60)]


def test_a_block_list_that_cannot_be_read_stops_the_job(bench: Bench) -> None:
    spec = bench.spec(LOAD).model_copy(update={"block_rows": (str(bench.root / "gone.txt"),)})
    with pytest.raises(DataProblem, match=r"gone\.txt"):
        prepare(spec, _quiet)


def test_the_step_that_leaves_no_rows_is_named(bench: Bench) -> None:
    spec = bench.spec([*LOAD, {"op": "dedup"}, {"op": "filter_regex", "pattern": "nowhere"}])
    with pytest.raises(DataProblem, match=r"step 4 \(filter_regex\) left no rows of 60") as caught:
        prepare(spec, _quiet)
    assert caught.value.hint
    assert not Path(spec.data_dir or "").parent.exists()


def test_an_unknown_source_names_those_that_there_are(bench: Bench) -> None:
    with pytest.raises(DataProblem) as caught:
        prepare(bench.spec([{"op": "load", "source": "c"}]), _quiet)
    assert "a, b" in caught.value.hint


def test_the_manifest_counts_every_row_that_was_dropped_with_examples(bench: Bench) -> None:
    spec = bench.spec([*LOAD, LOAD[0], {"op": "dedup"}, {"op": "filter_regex", "pattern": "^other"}])
    manifest = prepare(spec, _quiet)
    steps = manifest["steps"]
    assert isinstance(steps, list)
    assert steps[3]["dropped"] == [
        {
            "reason": "copy of an earlier row (prompt and answer)",
            "rows": 40,
            "examples": [f"a:{n}" for n in range(1, 6)],
        }
    ]
    assert manifest["dropped"] == {"4 dedup": 40, "5 filter_regex": 40}
    for entry in steps[3:]:
        assert entry["rows_in"] - entry["rows_out"] == sum(drop["rows"] for drop in entry["dropped"])


def test_a_finished_set_of_the_same_recipe_is_kept_and_of_another_one_replaced(bench: Bench) -> None:
    spec = bench.spec(LOAD)
    first = prepare(spec, _quiet)
    marker = Path(f"{spec.data_dir}/rows/state.json").stat().st_mtime_ns
    assert prepare(spec, _quiet) == first
    assert Path(f"{spec.data_dir}/rows/state.json").stat().st_mtime_ns == marker
    other = bench.spec(LOAD[:1]).model_copy(update={"data_dir": spec.data_dir})
    assert prepare(other, _quiet)["rows"] == 40


def test_what_a_killed_job_left_is_replaced(bench: Bench) -> None:
    spec = bench.spec(LOAD)
    half = Path(f"{spec.data_dir}/rows")
    half.mkdir(parents=True)
    (half / "data.arrow").write_text("half")
    assert prepare(spec, _quiet)["rows"] == 60
    assert len(prepared(spec)) == 60


def test_a_disk_that_refuses_leaves_nothing_half(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from hpc_trex.errors import EnvironmentProblem

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    spec = bench.spec(LOAD)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentProblem, match="No space left"):
        prepare(spec, _quiet)
    assert not Path(spec.data_dir or "").parent.exists()
    assert not list((bench.root / "cache").rglob("rows"))


random_steps = st.sampled_from(
    [
        {"op": "dedup"},
        {"op": "filter_length", "column": "prompt", "min_chars": 1},
        {"op": "filter_conflicts"},
        {"op": "order", "by": "length"},
        {"op": "filter_regex", "pattern": "o"},
    ]
)
draws = st.sampled_from(
    [
        {"op": "sample", "n": 25},
        {"op": "mix", "weights": {"a": 1, "b": 1}, "total": 20},
        {"op": "split", "holdout_fraction": 0.25},
    ]
)
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(st.lists(random_steps | draws, max_size=3, unique_by=lambda step: step["op"]), st.integers(0, 2**40))
def test_the_same_recipe_and_seed_give_the_same_rows(bench: Bench, steps: list[dict[str, object]], seed: int) -> None:
    first, second = (prepare(bench.spec([*LOAD, *steps], seed), _quiet) for _ in range(2))
    assert first["sha256"] == second["sha256"]
    assert first["steps"] == second["steps"]


@few
@given(draws, st.lists(random_steps, max_size=2), st.lists(random_steps, max_size=2), st.integers(0, 2**40))
def test_another_step_that_drops_nothing_does_not_change_what_is_drawn(
    bench: Bench, draw: dict[str, object], before: list[dict[str, object]], after: list[dict[str, object]], seed: int
) -> None:
    assert set(_ids(bench, [*LOAD, draw], seed)) == set(_ids(bench, [*LOAD, *before, draw, *after], seed))


def test_another_seed_draws_other_rows(bench: Bench) -> None:
    step = {"op": "sample", "n": 20}
    assert _ids(bench, [*LOAD, step], 0) != _ids(bench, [*LOAD, step], 1)
    assert set(_ids(bench, [*LOAD, step, step], 0)) == set(_ids(bench, [*LOAD, step], 0))
