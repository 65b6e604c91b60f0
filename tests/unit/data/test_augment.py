"""Changed copies of rows: what changes, what stays right, and that the seed says all of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hpc_trex.data.operators.augment import mistyped, shuffled
from hpc_trex.data.prepare import prepare
from hpc_trex.ftbench.rows import Row
from tests.unit.data.recipes import Bench, prepared

OPTIONS = "Which is largest?\nA) one\nB) two\nC) three\nAnswer with a letter."


def _row(answer: str, prompt: str = OPTIONS) -> Row:
    return Row("a:1", prompt, answer, "a")


@pytest.mark.parametrize("answer", ["C", "C)", "(C)", "C. three", "C) three", "three"])
def test_an_answer_follows_its_option(answer: str) -> None:
    orders = set()
    for seed in range(20):
        new = shuffled(_row(answer), random.Random(seed))
        lines = new.prompt.split("\n")
        assert (lines[0], lines[-1]) == ("Which is largest?", "Answer with a letter.")
        assert [line[:2] for line in lines[1:4]] == ["A)", "B)", "C)"]
        letter = next(line[0] for line in lines[1:4] if line.endswith("three"))
        assert new.answer == (answer if answer == "three" else answer.replace("C", letter))
        orders.add(tuple(lines[1:4]))
    assert len(orders) == 6


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (OPTIONS, "It is C, for A is smaller."),
        (OPTIONS, "D"),
        (OPTIONS, "C) two"),
        ("no options", "C"),
        ("B) two\nC) three", "C"),
        ("A) only one", "A"),
    ],
)
def test_what_is_not_plainly_a_choice_is_left_alone(prompt: str, answer: str) -> None:
    row = _row(answer, prompt)
    assert all(shuffled(row, random.Random(seed)) == row for seed in range(5))


def test_typos_leave_numbers_signs_and_first_letters() -> None:
    text = "What number comes after 1234 and before 5678, in figures?"
    for seed in range(30):
        new = mistyped(text, 1.0, random.Random(seed))
        assert new != text
        assert [word[:1] for word in new.split()] == [word[:1] for word in text.split()]
        assert "1234" in new
        assert "5678," in new
    assert mistyped(text, 1e-9, random.Random(0)) == text


def test_copies_stand_behind_their_rows_and_a_row_of_the_test_takes_its_copy_with_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.source("a", [(f"Question number {n}", "yes") for n in range(20)])
    bench.block(["question number 3"])
    steps = [{"op": "load", "source": "a"}, {"op": "augment", "kind": "typos", "fraction": 1, "strength": 1}]
    spec = bench.spec(steps)
    prepare(spec, lambda _: None)
    ids = [row.row_id for row in prepared(spec)]
    assert ids == [name for n in range(1, 21) if n != 4 for name in (f"a:{n}", f"a:{n}#1")]
    assert len({row.prompt for row in prepared(spec)}) > 30
    again, other = bench.spec(steps), bench.spec(steps, seed=1)
    for one in (again, other):
        prepare(one.model_copy(update={"cache_dir": str(tmp_path / f"cache-{one.data.seed}")}), lambda _: None)
    assert prepared(again) == prepared(spec) != prepared(other)
    replaced = bench.spec([steps[0], {"op": "augment", "kind": "case", "fraction": 0.5, "replace": True}])
    prepare(replaced, lambda _: None)
    rows = prepared(replaced)
    assert len(rows) == 19
    changed = [row for row in rows if row.prompt in (row.prompt.upper(), row.prompt.lower())]
    assert len(changed) in (9, 10)


def test_a_copy_is_held_out_with_its_row(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.source("a", [(f"Question number {n}", "yes") for n in range(40)])
    steps = [
        {"op": "load", "source": "a"},
        {"op": "augment", "kind": "typos", "fraction": 1, "strength": 1},
        {"op": "split", "holdout_fraction": 0.25},
    ]
    spec = bench.spec(steps)
    prepare(spec, lambda _: None)
    sides = [{row.row_id.split("#")[0] for row in prepared(spec, part)} for part in ("rows", "holdout")]
    assert not sides[0] & sides[1]
    assert len(prepared(spec, "holdout")) == 2 * len(sides[1]) == 20
