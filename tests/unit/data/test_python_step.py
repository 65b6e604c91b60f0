"""The python step in a prepare job, in the real bubblewrap: what its code returns is checked, and where it is from is kept."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators.python import _mapped
from hpc_trex.data.prepare import prepare
from hpc_trex.ftbench.rows import Row
from hpc_trex.models import DataRecipe, FailureClass, Heartbeat, JobSandbox, JobSpec
from hpc_trex.models.operators import Python
from hpc_trex.sandbox import SandboxMissing
from tests.unit.data.recipes import Bench, prepared

LOAD = [{"op": "load", "source": "a"}]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "bench")
    bench.source("a", [(f"question {n}", f"answer {n}") for n in range(1, 9)])
    return bench


def spec(
    bench: Bench, code: str, *more: dict[str, Any], sandbox: JobSandbox | None = None, **options: object
) -> JobSpec:
    steps = [*LOAD, {"op": "python", "code": code, **options}, *more]
    return bench.spec(steps).model_copy(update={"sandbox": sandbox or JobSandbox(allowed=True)})


def quiet(heartbeat: Heartbeat) -> None:
    assert heartbeat.phase == "preparing"


def rows(job: JobSpec) -> list[Row]:
    prepare(job, quiet)
    return prepared(job)


def failure(job: JobSpec) -> str:
    with pytest.raises(DataProblem) as error:
        prepare(job, quiet)
    assert error.value.failure is FailureClass.DATA
    assert not Path(job.data_dir or "").exists()
    return f"{error.value.message}; {error.value.hint}"


def test_map_changes_drops_and_adds_rows_and_keeps_where_each_is_from(bench: Bench) -> None:
    code = """
def transform(row):
    number = int(row["prompt"].split()[1])
    if number == 1:
        return None
    if number == 2:
        return [{**row, "answer": "two"}, {"prompt": "half of 4", "answer": "two"}, {"prompt": "1 + 1", "answer": "two"}]
    return {"prompt": row["prompt"].upper(), "answer": row["answer"]}
"""
    found = rows(spec(bench, code))
    assert [row.row_id for row in found] == ["a:2", "a:2#1", "a:2#2", *(f"a:{n}" for n in range(3, 9))]
    assert {row.source for row in found} == {"a"}
    assert [row.prompt for row in found[:4]] == ["question 2", "half of 4", "1 + 1", "QUESTION 3"]


def test_filter_keeps_rows_as_they_were(bench: Bench) -> None:
    code = "def transform(row):\n    row['answer'] = 'changed'\n    return row if row['row_id'] < 'a:4' else None"
    assert [(row.row_id, row.answer) for row in rows(spec(bench, code, mode="filter"))] == [
        ("a:1", " answer 1"), ("a:2", " answer 2"), ("a:3", " answer 3"),
    ]  # fmt: skip
    assert len(rows(spec(bench, "def transform(row): return row['prompt'].endswith('8')", mode="filter"))) == 1
    assert "not a number" in failure(spec(bench, "def transform(row): return 1", mode="filter"))


def test_the_manifest_says_what_code_ran_in_what_and_how_many_rows_it_took(bench: Bench) -> None:
    code = "def transform(row): return row if row['row_id'] != 'a:3' else None"
    manifest = prepare(spec(bench, code), quiet)
    step: Any = manifest["steps"][1]  # type: ignore[index]
    assert (step["op"], step["rows_in"], step["rows_out"]) == ("python", 8, 7)
    assert step["parameters"]["code"] == code
    assert step["notes"]["code_sha256"] == hashlib.sha256(code.encode()).hexdigest()
    assert (step["notes"]["sandbox"], step["notes"]["calls_filtered"]) == ("bwrap", True)
    assert step["dropped"] == [{"reason": "the code returned none", "rows": 1, "examples": ["a:3"]}]
    assert manifest["dropped"] == {"2 python": 1}


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("{'prompt': 'x'}", "(a:5): column answer is missing"),
        ("{'prompt': 1, 'answer': 'x'}", "(a:5): column prompt is a number, not text"),
        ("{'prompt': 'x', 'answer': float('nan')}", "(a:5): column answer is a number, not text"),
        ("{'prompt': 'x', 'answer': None}", "(a:5): column answer is null, not text"),
        ("{'prompt': 'x', 'answer': ['y']}", "(a:5): column answer is a list, not text"),
        ("{'prompt': 'x', 'answer': 'y' * 1_000_001}", "(a:5): column answer has 1000001 characters"),
        ("{'prompt': 'x', 'answer': '\\ud800'}", "(a:5): column answer holds half of a surrogate pair"),
        ("{**row, 'label': 'x'}", "(a:5): unknown column 'label'"),
        ("{**row, 'source': 'curated'}", "(a:5): column source was changed"),
        ("{**row, 'row_id': 'a:1'}", "(a:5): column row_id was changed"),
        ("[row, {**row, 'answer': 3}]", "(a:5), part 2: column answer is a number"),
        ("'a text'", "(a:5): the code returned text, not a row"),
        ("True", "(a:5): the code returned true or false, not a row"),
        ("[None]", "(a:5): the code returned null, not a row"),
        ("1 / 0", "(a:5): ZeroDivisionError: division by zero"),
    ],
)
def test_a_wrong_answer_names_the_row_and_the_column(bench: Bench, returned: str, said: str) -> None:
    message = failure(spec(bench, f"def transform(row):\n    return ({returned}) if row['row_id'] == 'a:5' else row"))
    assert "python: row 5 of 8 " in message
    assert said in message


def test_code_that_drops_everything_fails_as_every_step_does(bench: Bench) -> None:
    assert "step 2 (python) left no rows of 8: the code returned none: 8" in failure(
        spec(bench, "def transform(row): pass")
    )


def test_code_cannot_bring_in_what_is_evaluated_on(bench: Bench) -> None:
    bench.block(["the sealed question"])
    bench.bear_leaks()
    code = "def transform(row): return [row, {'prompt': '  The sealed QUESTION ', 'answer': '42'}]"
    job = spec(bench, code)
    assert not [row for row in rows(job) if "sealed" in row.prompt.lower()]
    manifest = prepare(job, quiet)
    assert manifest["dropped"] == {"3 decontaminate": 8}


def test_rows_made_of_one_that_is_evaluated_on_go_with_it(bench: Bench) -> None:
    first = rows(spec(bench, "def transform(row): return row"))[0]
    bench.block([first.prompt])
    job = spec(bench, "def transform(row): return [{**row, 'prompt': 'so: ' + row['prompt']}] * 2")
    assert {row.row_id.split("#")[0] for row in rows(job)} == {f"a:{n}" for n in range(1, 9)} - {first.row_id}


def test_code_does_not_see_the_files_of_the_search(bench: Bench) -> None:
    code = f"import os\ndef transform(row):\n    return {{**row, 'answer': str(os.path.exists({str(bench.root)!r}))}}"
    assert {row.answer for row in rows(spec(bench, code))} == {" False"}


def test_without_leave_of_the_profile_nothing_is_run(bench: Bench) -> None:
    with pytest.raises(SandboxMissing, match="does not allow code of agents") as error:
        prepare(bench.spec([*LOAD, {"op": "python", "code": "def transform(row): return row"}]), quiet)
    assert error.value.failure is FailureClass.AGENT
    assert "agent_code" in error.value.hint


@pytest.mark.parametrize("means", [None, "bwrap", "apptainer", "none"])
def test_where_there_is_no_sandbox_the_code_is_not_run_bare(
    bench: Bench, means: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    trace = tmp_path / "ran"
    code = f"open({str(trace)!r}, 'w').close()\ndef transform(row): return row"
    with pytest.raises(SandboxMissing, match="is not run"):
        prepare(spec(bench, code, sandbox=JobSandbox(allowed=True, means=means)), quiet)
    assert not trace.exists()


def test_a_search_inside_the_interpreters_folder_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job = spec(bench, "def transform(row): return row").model_copy(update={"attempt_dir": "/usr/share/searches/1"})
    with pytest.raises(SandboxMissing, match="/usr/share/searches/1 would be readable"):
        prepare(job, quiet)


def test_two_steps_in_a_row_never_give_an_id_twice(bench: Bench) -> None:
    step = {"op": "python", "code": "def transform(row): return [row, row]"}
    found = [row.row_id for row in rows(spec(bench, step["code"], step))]
    assert len(found) == len(set(found)) == 32


def test_the_same_recipe_gives_the_same_rows(bench: Bench) -> None:
    code = (
        "import random\ndef transform(row): return {**row, 'answer': str(random.random()) + str(hash(row['prompt']))}"
    )
    assert rows(spec(bench, code)) == rows(spec(bench, code))


def test_a_long_run_gives_signs_of_life(bench: Bench) -> None:
    said: list[str] = []
    code = "import time\ndef transform(row):\n    time.sleep(0.3)\n    return row"
    prepare(spec(bench, code), lambda beat: said.append(beat.message))
    assert len([one for one in said if one.startswith("python: row ")]) >= 2


def test_a_step_counts_in_the_identity_of_the_recipe() -> None:
    def recipe(code: str) -> DataRecipe:
        return DataRecipe.model_validate({"steps": [*LOAD, {"op": "python", "code": code}]})

    one, other = recipe("def transform(row): return row"), recipe("def transform(row): return None")
    assert one.resolved() != other.resolved()
    assert DataRecipe.model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize(
    "beyond",
    [
        {"seconds": 1801},
        {"memory_gb": 17},
        {"max_output_rows": 5_000_001},
        {"max_output_mb": 1025},
        {"code": "#" * 20_001},
    ],
)
def test_no_plan_goes_beyond_the_bounds(beyond: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(beyond))):
        Python.model_validate({"code": "def transform(row): return row", **beyond})


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_ids_of_new_rows_tell_their_origin_and_are_one_each(counts: list[int]) -> None:
    old = [Row(f"a:{n}", "p", "x", "a") for n in range(len(counts))]
    taken = {row.row_id for row in old}
    made = [
        (row, new)
        for row, count in zip(old, counts, strict=True)
        for new in _mapped(row, [{"prompt": "q", "answer": "y"}] * count, "", taken)
    ]
    assert len({new.row_id for _, new in made}) == sum(counts)
    assert all(new.row_id.split("#")[0] == row.row_id and new.source == row.source for row, new in made)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=20))
def test_code_that_returns_its_row_changes_nothing(pairs: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.source("a", [(f"p {prompt}", answer) for prompt, answer in pairs])
        plain = bench.spec(LOAD)
        assert rows(spec(bench, "def transform(row): return row")) == rows(plain)
