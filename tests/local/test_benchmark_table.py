"""The table of a benchmark from a real sweep: single evaluations and searches, read from what their elements left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hpc_trex.cli.main import main
from hpc_trex.report.benchmark import bench_rows
from hpc_trex.report.benchmark_text import table_text
from hpc_trex.sweep.element import Job, run_element
from hpc_trex.sweep.folder import read_config
from hpc_trex.sweep.measured import measured
from hpc_trex.sweep.plan import plan_lines
from tests.noop.sweeps import maker

pytestmark = pytest.mark.local


def test_a_sweep_with_its_single_evaluations_becomes_a_table(tmp_path, monkeypatch):
    large = tmp_path / "large"
    large.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (large / name).write_text("{}")
    paths = maker(tmp_path, monkeypatch)(baseline=True, reference_models=(str(large),), seeds=(0, 1), max_nodes=1)
    config = read_config(paths)
    for element in config.elements()[:3]:  # the second seed is not run
        left = run_element(paths, element.number, Job("t-1", f"41_{element.number}"), lambda _: None)
        assert left.state == "done", left.message
    found = measured([str(paths.root)])
    assert [(one.role, one.done) for one, _ in found] == [
        ("baseline", True), ("reference", True), ("search", True), ("search", False),
    ]  # fmt: skip
    (row,) = bench_rows(found)
    assert (row.task, row.model, row.rows) == ("mini-triage", "builtin:tiny-qwen3", 100)
    assert row.base is not None
    assert row.reference is not None
    assert (row.base.value, row.base.published, row.reference.source) == (0.25, False, str(large))
    (method,) = row.methods
    assert (method.method, method.runs) == ("random", 2)
    assert method.score is not None
    assert (method.score.value, method.score.seeds) == (0.5, 1)
    assert method.gain is not None
    assert method.gain.value == pytest.approx(0.25)
    assert "1 of 2 searches of random have a test score" in table_text([row])
    single = measured([str(paths.element(2).search)])
    assert [(one.role, one.test) for one, _ in single] == [("search", found[2][0].test)]


CARD = """
name = "quiz"
licence = "CC0-1.0"
sources = {{}}
dev = {{ table = "dev" }}
test = {{ table = "test" }}

[downloads.rows]
kind = "git"
url = "file://{folder}"
revision = "{commit}"
licence = "CC0-1.0"

[tables.test]
from = "rows"
path = "rows.jsonl"

[tables.dev]
of = "test"
rows = 4

[prompt]
prompt = "{{{{ question }}}}"
answer = "{{{{ answer }}}}"

[metric]
name = "exact_match"
"""


def committed(folder: Path) -> str:
    """Make a repository of a folder and return its commit."""

    def git(*words: str) -> str:
        name = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        done = subprocess.run(["git", "-C", str(folder), *name, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "rows")
    return git("rev-parse", "HEAD")


def test_a_task_without_training_rows_is_fetched_and_evaluated(tmp_path, monkeypatch):
    folder = tmp_path / "upstream"
    folder.mkdir()
    (folder / "rows.jsonl").write_text(
        "".join(f'{{"question": "number {count}?", "answer": "{count}"}}\n' for count in range(12))
    )
    card = tmp_path / "card.toml"
    card.write_text(CARD.format(folder=folder, commit=committed(folder)))
    make = maker(tmp_path, monkeypatch)
    monkeypatch.setattr("sys.argv", ["hpc-trex", "ftbench", "fetch", str(card)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    paths = make(tasks=(str(card), "mini-triage"), baseline=True)
    config = read_config(paths)
    assert [(one.task, config.role(one)) for one in config.elements()] == [
        (0, "baseline"), (1, "baseline"), (1, "search"),
    ]  # fmt: skip
    assert f"no rows    {card}: evaluated only" in "\n".join(plan_lines(config, 3, 0))
    left = run_element(paths, 0, Job("t-1", "41_0"), lambda _: None)
    assert (left.state, left.dev) == ("done", 0.25), left.message
    quiz, _ = bench_rows(measured([str(paths.root)]))
    assert quiz.base is not None
    assert (quiz.task, quiz.methods) == ("quiz", ())
