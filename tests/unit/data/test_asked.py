"""Steps that ask a language model: what a job asks, what it makes of answers, and that it never asks by itself."""

from __future__ import annotations

from typing import Any

import pytest

from hpc_trex.data.errors import DataProblem, NeedsAnswers
from hpc_trex.data.prepare import prepare, questions_file
from hpc_trex.files import read_record, write_record
from hpc_trex.models import FailureClass, Heartbeat, JobSpec
from hpc_trex.models.asking import AnsweredRows, NewRow, Questions, RowAnswer, RowQuestion
from tests.unit.data.recipes import Bench, prepared

LOAD = {"op": "load", "source": "a"}


@pytest.fixture
def bench(tmp_path: Any) -> Bench:
    bench = Bench(tmp_path / "bench")
    (bench.root / "attempt").mkdir()
    bench.source("a", [(f"question {n}", f"answer {n}") for n in range(6)])
    return bench


def _quiet(_: Heartbeat) -> None:
    pass


def _asks(spec: JobSpec) -> tuple[RowQuestion, ...]:
    with pytest.raises(NeedsAnswers) as wanted:
        prepare(spec, _quiet)
    assert wanted.value.failure is FailureClass.ASKS
    found = read_record(questions_file(spec), Questions)
    assert found is not None
    assert found.questions == wanted.value.questions
    return found.questions


def _answered(bench: Bench, spec: JobSpec, say: Any) -> JobSpec:
    """The same job with one more file of answers."""
    questions = _asks(spec)
    path = bench.root / f"answers-{len(spec.answers)}.json"
    write_record(path, AnsweredRows(model="m", prompt_digest="0" * 64, answers=tuple(map(say, questions))))
    return spec.model_copy(update={"answers": (*spec.answers, str(path))})


def test_a_judged_row_below_the_bar_is_dropped_and_one_without_an_answer_too(bench: Bench) -> None:
    spec = bench.spec([LOAD, {"op": "judge", "instruction": "is it right?", "min_score": 4}])

    def say(one: RowQuestion) -> RowAnswer:
        number = int(one.prompt[-1])
        return RowAnswer(key=one.key, score=None if number == 2 else 1 + number % 5)

    spec = _answered(bench, spec, say)
    manifest = prepare(spec, _quiet)
    assert [row.row_id for row in prepared(spec)] == ["a:4", "a:5"]
    step = manifest["steps"][1]  # type: ignore[index]
    assert [(drop["reason"], drop["rows"]) for drop in step["dropped"]] == [
        ("the model gave less than 4 of 5 points", 3),
        ("the model gave no usable answer", 1),
    ]
    assert (step["notes"]["asked"], step["notes"]["answered"]) == (6, 5)


def test_rewritten_labelled_and_new_rows_keep_where_they_come_from(bench: Bench) -> None:
    steps = [
        LOAD,
        {"op": "rewrite", "instruction": "shorter", "rows": 4},
        {"op": "label", "instruction": "which", "labels": ["x", "y"], "rows": 20},
        {"op": "generate", "instruction": "more", "rows": 2, "each": 2},
    ]
    spec = bench.spec(steps)

    def rewrites(one: RowQuestion) -> RowAnswer:
        return RowAnswer(key=one.key, rows=(NewRow(prompt="ignored", answer=f"short {one.answer[-1]}"),))

    spec = _answered(bench, spec, rewrites)
    assert len(read_record(questions_file(spec), Questions).questions) == 4  # type: ignore[union-attr]
    asked: list[str] = []

    def labels(one: RowQuestion) -> RowAnswer:
        asked.append(one.answer)
        return RowAnswer(key=one.key, label="x" if int(one.prompt[-1]) % 2 else "z")

    spec = _answered(bench, spec, labels)
    assert sum(one.startswith("short") for one in asked) == 4, "the second step sees the rows of the first"

    def makes(one: RowQuestion) -> RowAnswer:
        return RowAnswer(key=one.key, rows=tuple(NewRow(prompt=f"{one.prompt} {n}", answer="new") for n in range(3)))

    spec = _answered(bench, spec, makes)
    prepare(spec, _quiet)
    rows = prepared(spec)
    assert len(rows) == 3 + 2 * 2, "three rows with a label, two new ones for each of two"
    assert {row.source for row in rows} == {"a"}
    made = [row for row in rows if "#" in row.row_id]
    assert {row.row_id.split("#")[1] for row in made} == {"1", "2"}
    assert all(row.answer.strip() in ("x", "new") for row in rows)


def test_what_the_model_wrote_is_decontaminated_and_so_is_what_it_was_made_of(bench: Bench) -> None:
    bench.block(["question 1", "a leaked prompt"])
    bench.bear_leaks()
    spec = bench.spec([LOAD, {"op": "generate", "instruction": "more", "rows": 100}])

    def makes(one: RowQuestion) -> RowAnswer:
        prompt = "A leaked  prompt" if one.prompt == "question 3" else f"new of {one.prompt}"
        return RowAnswer(key=one.key, rows=(NewRow(prompt=prompt, answer="new"),))

    spec = _answered(bench, spec, makes)
    prepare(spec, _quiet)
    ids = [row.row_id for row in prepared(spec)]
    assert "a:2" not in ids
    assert "a:2#1" not in ids, "made of a row of the test"
    assert "a:4" in ids
    assert "a:4#1" not in ids, "the model wrote a row of the test"
    assert len(ids) == 5 + 4


def test_steps_after_an_answer_are_cached_by_what_was_answered(bench: Bench) -> None:
    steps = [LOAD, {"op": "judge", "instruction": "?"}, {"op": "dedup"}]

    def run(score: int) -> tuple[list[int], int]:
        spec = _answered(bench, bench.spec(steps), lambda one: RowAnswer(key=one.key, score=score if one.prompt == "question 0" else 5))  # fmt: skip
        manifest = prepare(spec, _quiet)
        return manifest["cached_steps"], manifest["rows"]  # type: ignore[return-value]

    assert run(1) == ([1], 5)
    assert run(5) == ([1], 6)
    assert run(1) == ([1, 3], 5)


def test_equal_rows_are_asked_about_once_and_long_ones_never(bench: Bench) -> None:
    bench.source("a", [("q", "a"), ("q", "a"), ("long", "x" * 20_000)])
    spec = bench.spec([LOAD, {"op": "judge", "instruction": "?"}])
    assert [one.prompt for one in _asks(spec)] == ["q"]
    spec = _answered(bench, spec, lambda one: RowAnswer(key=one.key, score=1))
    prepare(spec, _quiet)
    assert [row.row_id for row in prepared(spec)] == ["a:3"]


def test_damaged_answers_are_named_and_not_passed_over(bench: Bench) -> None:
    spec = _answered(bench, bench.spec([LOAD, {"op": "judge", "instruction": "?"}]), lambda one: RowAnswer(key=one.key, score=5))  # fmt: skip
    (bench.root / "answers-0.json").write_text("{")
    with pytest.raises(DataProblem, match=r"answers-0\.json cannot be read"):
        prepare(spec, _quiet)
