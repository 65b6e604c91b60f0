"""The cache of steps: a recipe that differs in one step runs that step only, whoever ran the others."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from hpc_trex.data import operators
from hpc_trex.data.cache import StepCache, open_cache
from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators import OPERATORS
from hpc_trex.data.operators.base import column, from_rows, picked
from hpc_trex.data.prepare import prepare
from hpc_trex.ftbench.rows import Row
from hpc_trex.models import Heartbeat
from tests.unit.data.recipes import Bench, prepared

RECIPE: list[dict[str, Any]] = [
    {"op": "load", "source": "a"},
    {"op": "load", "source": "b"},
    {"op": "dedup"},
    {"op": "sample", "n": 30},
    {"op": "split", "holdout_fraction": 0.2},
    {"op": "order", "by": "length"},
]


def _quiet(_: Heartbeat) -> None:
    pass


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "bench")
    bench.source("a", [(f"question {n}", f"answer {n}") for n in range(40)])
    bench.source("b", [(f"other {n} longer", "x" * (n + 1)) for n in range(20)])
    return bench


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the steps that were really run."""
    names: list[str] = []

    def counted(run: Any) -> Any:
        def wrapper(step: Any, data: Any, context: Any) -> Any:
            names.append(step.op)
            return run(step, data, context)

        return wrapper

    for kind, run in list(OPERATORS.items()):
        monkeypatch.setitem(operators.OPERATORS, kind, counted(run))
    return names


def test_a_recipe_that_was_run_is_not_run_again_and_gives_the_same(bench: Bench, ran: list[str]) -> None:
    first = bench.spec(RECIPE)
    told = prepare(first, _quiet)
    assert ran == [step["op"] for step in RECIPE]
    ran.clear()
    second = bench.spec(RECIPE)
    again = prepare(second, _quiet)
    assert ran == []
    assert again["cached_steps"] == [1, 2, 3, 4, 5, 6]
    assert prepared(first) == prepared(second)
    assert prepared(first, "holdout") == prepared(second, "holdout")
    for name in ("sha256", "steps", "dropped", "ordered", "rows_by_source", "holdout_rows"):
        assert told[name] == again[name], name


@pytest.mark.parametrize("place", range(len(RECIPE)))
def test_a_changed_step_is_paid_for_with_those_after_it(bench: Bench, ran: list[str], place: int) -> None:
    """A load before another one costs itself: the other's rows are the same after whatever stands before."""
    prepare(bench.spec(RECIPE), _quiet)
    ran.clear()
    change = [
        {"op": "load", "source": "a", "limit": 30},
        {"op": "load", "source": "b", "limit": 10},
        {"op": "dedup", "columns": ["prompt"]},
        {"op": "sample", "n": 25},
        {"op": "split", "holdout_fraction": 0.3},
        {"op": "order", "by": "length", "descending": True},
    ]
    recipe = [*RECIPE[:place], change[place], *RECIPE[place + 1 :]]
    spec = bench.spec(recipe)
    prepare(spec, _quiet)
    expected = [step["op"] for step in recipe[place:]]
    assert ran == (expected[:1] + expected[2:] if place == 0 else expected)
    fresh = bench.spec(recipe).model_copy(update={"cache_dir": str(bench.root / "empty")})
    prepare(fresh, _quiet)
    assert prepared(spec) == prepared(fresh)


def test_another_seed_runs_what_draws_and_nothing_before(bench: Bench, ran: list[str]) -> None:
    prepare(bench.spec(RECIPE), _quiet)
    ran.clear()
    prepare(bench.spec(RECIPE, seed=1), _quiet)
    assert ran == ["sample", "split", "order"]


def test_another_source_file_is_not_taken_for_the_old_one(bench: Bench, ran: list[str]) -> None:
    prepare(bench.spec(RECIPE), _quiet)
    ran.clear()
    bench.source("b", [(f"new {n}", "y") for n in range(5)])
    spec = bench.spec(RECIPE)
    assert prepare(spec, _quiet)["steps"][1]["rows_out"] == 45  # type: ignore[index]
    assert ran == ["load", "dedup", "sample", "split", "order"]


def test_another_code_is_another_step(bench: Bench, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(bench.spec(RECIPE), _quiet)
    ran.clear()
    monkeypatch.setattr("hpc_trex.data.cache._code_digest", lambda parts: "new")
    prepare(bench.spec(RECIPE), _quiet)
    assert len(ran) == len(RECIPE)


def test_another_version_of_the_library_is_another_step(
    bench: Bench, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = [RECIPE[0], {"op": "convert", "prompt": "Q: {{ prompt }}"}, {"op": "dedup"}]
    prepare(bench.spec(recipe), _quiet)
    ran.clear()
    monkeypatch.setattr("hpc_trex.data.cache.metadata.version", lambda package: "99")
    prepare(bench.spec(recipe), _quiet)
    assert ran == ["convert", "dedup"]


def test_zero_gigabytes_is_no_cache_and_words_are_refused(
    bench: Bench, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPC_TREX_STEP_CACHE_GB", "0")
    spec = bench.spec(RECIPE)
    prepare(spec, _quiet)
    assert not (bench.root / "cache").exists()
    assert prepare(bench.spec(RECIPE), _quiet)["cached_steps"] == []
    assert len(ran) == 2 * len(RECIPE)
    monkeypatch.setenv("HPC_TREX_STEP_CACHE_GB", "much")
    with pytest.raises(DataProblem, match="HPC_TREX_STEP_CACHE_GB"):
        open_cache(spec.cache_dir)


def test_an_entry_that_is_cut_short_is_made_again(bench: Bench, ran: list[str]) -> None:
    first = bench.spec(RECIPE)
    prepare(first, _quiet)
    for path in (bench.root / "cache" / "steps").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    ran.clear()
    second = bench.spec(RECIPE)
    prepare(second, _quiet)
    assert len(ran) == len(RECIPE)
    assert prepared(first) == prepared(second)
    assert prepare(bench.spec(RECIPE), _quiet)["cached_steps"] == [1, 2, 3, 4, 5, 6], "the new ones took their places"


@pytest.mark.parametrize("name", ["entry.json", "held.npy", "state.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}"], ids=["gone", "empty", "another"])
def test_an_entry_that_lost_a_file_is_made_again(
    bench: Bench, ran: list[str], name: str, content: bytes | None
) -> None:
    """A trim that was killed, or one on NFS while a job had the rows open, leaves a folder without its entry file."""
    first = bench.spec(RECIPE)
    prepare(first, _quiet)
    for path in (bench.root / "cache" / "steps").rglob(name):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
    second = bench.spec(RECIPE)
    prepare(second, _quiet)
    assert prepared(first) == prepared(second)
    assert prepared(first, "holdout") == prepared(second, "holdout")
    assert prepare(bench.spec(RECIPE), _quiet)["cached_steps"] == [1, 2, 3, 4, 5, 6], "the new ones took their places"


def test_a_cache_that_cannot_be_written_ends_no_job(bench: Bench) -> None:
    (bench.root / "cache").write_text("a file where the folder should be")
    said: list[str] = []
    assert prepare(bench.spec(RECIPE), lambda beat: said.append(beat.message))["cached_steps"] == []
    assert any("not cached: Not a directory" in one for one in said)


def test_what_a_killed_trim_left_is_removed(tmp_path: Path) -> None:
    cache = StepCache(tmp_path / "steps", 1e9)
    cache.put("a" * 64, picked(from_rows([Row("a:1", "p", "a", "a")]), [0]))
    (tmp_path / "steps" / "aa" / ("a" * 64) / "entry.json").unlink()
    assert cache.trim() == 0
    assert list((tmp_path / "steps" / "aa").iterdir()) == []


def test_two_jobs_at_once_make_one_entry(tmp_path: Path) -> None:
    cache = StepCache(tmp_path / "steps", 1e9)
    data = from_rows([Row(f"a:{n}", f"p{n}", "a", "a") for n in range(100)])
    outcome = picked(data, list(range(0, 100, 2)))
    start = threading.Barrier(8)
    said: list[str] = []

    def put() -> None:
        start.wait()
        said.append(cache.put("k" * 64, outcome))

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [""] * 8
    found = cache.get("k" * 64, data)
    assert found is not None
    assert column(found.data, "row_id") == [f"a:{n}" for n in range(0, 100, 2)]
    assert [path.name for path in (tmp_path / "steps" / "kk").iterdir()] == ["k" * 64]


def test_what_was_unused_for_longest_goes_first_and_what_is_in_use_stays(tmp_path: Path) -> None:
    import os
    import time

    cache = StepCache(tmp_path / "steps", 0.0)
    data = from_rows([Row("a:1", "p", "a", "a")])
    now = time.time()
    for key, age in (("a" * 64, 9000), ("b" * 64, 8000), ("c" * 64, 10)):
        assert cache.put(key, picked(data, [0])) == ""
        os.utime(tmp_path / "steps" / key[:2] / key / "entry.json", (now - age, now - age))
    size = sum(path.stat().st_size for path in (tmp_path / "steps" / "aa").rglob("*") if path.is_file())
    cache.limit = 2.5 * size
    assert cache.trim(now) == 1
    cache.limit = 0.0
    assert cache.get("a" * 64, data) is None
    assert cache.get("b" * 64, data) is not None
    os.utime(tmp_path / "steps" / "bb" / ("b" * 64) / "entry.json", (now - 8000, now - 8000))
    assert cache.trim(now) == 1
    assert cache.get("c" * 64, data) is not None, "used within the hour"


def test_a_preparation_of_hours_keeps_its_rows_from_the_trim_of_another_job(tmp_path: Path) -> None:
    import os
    import time

    mine, other = StepCache(tmp_path / "steps", 0.0), StepCache(tmp_path / "steps", 0.0)
    data = from_rows([Row("a:1", "p", "a", "a")])
    now = time.time()
    for key in ("a" * 64, "b" * 64, "c" * 64):
        mine.put(key, picked(data, [0]))
    reader = StepCache(tmp_path / "steps", 0.0)
    assert reader.get("a" * 64, data) is not None
    for key in ("a" * 64, "b" * 64, "c" * 64):
        os.utime(tmp_path / "steps" / key[:2] / key / "entry.json", (now - 7200, now - 7200))
    reader.renew()
    assert other.trim(now) == 3, "not renewed yet: ten minutes have not passed"
    for key in ("a" * 64, "b" * 64):
        mine.put(key, picked(data, [0]))
        os.utime(tmp_path / "steps" / key[:2] / key / "entry.json", (now - 7200, now - 7200))
    reader.renew(every=0)
    assert other.trim(now) == 1
    assert other.get("a" * 64, data) is not None
    assert other.get("b" * 64, data) is None
