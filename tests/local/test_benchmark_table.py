"""The table of a benchmark from a real sweep: single evaluations and searches, read from what their elements left."""

from __future__ import annotations

import pytest

from hpc_trex.report.benchmark import bench_rows
from hpc_trex.report.benchmark_text import table_text
from hpc_trex.sweep.element import Job, run_element
from hpc_trex.sweep.folder import read_config
from hpc_trex.sweep.measured import measured
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
