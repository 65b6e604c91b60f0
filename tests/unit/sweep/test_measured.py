"""What the table of a benchmark reads of runs whose searches are gone or never began, and how runs are named."""

from __future__ import annotations

import json

import pytest

from hpc_trex.cli.main import main
from hpc_trex.errors import NotFound
from hpc_trex.files import write_record
from hpc_trex.models import LlmUsage, PolicySettings, Score
from hpc_trex.report.benchmark import bench_rows
from hpc_trex.report.benchmark_text import notes
from hpc_trex.sweep.element import make_element_search
from hpc_trex.sweep.folder import read_config
from hpc_trex.sweep.measured import measured, method_of
from hpc_trex.sweep.records import ElementResult, RunRecord
from hpc_trex.tree.events import AgentCalled
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.store import Store


def score(value: float) -> Score:
    return Score(metric="accuracy", value=value, low=value - 0.1, high=value + 0.1, n=100)


def left(paths, number: int, base: float | None, test: float | None = None) -> None:
    """Leave a result without its search, as after ``hpc-trex gc``, and the record of its job."""
    folder = paths.element(number)
    folder.root.mkdir(parents=True, exist_ok=True)
    scores = {name: score(value) for name, value in (("test_baseline", base), ("test", test)) if value is not None}
    done = ElementResult(number=number, token="t", state="done", **scores)
    write_record(folder.result, done)
    folder.run("t").parent.mkdir()
    write_record(folder.run("t"), RunRecord(token="t", job_id="1", host="h", began="x", seconds=3600, gpus=2, cpus=4))


def test_results_without_searches_are_read(make):
    paths = make(seeds=(0, 1), baseline=True, policies=("uct", "greedy"))
    left(paths, 0, None, 0.25)  # one that was only evaluated is its own choice
    left(paths, 1, 0.25, 0.5)
    found = [one for one, _ in measured([str(paths.root)])]
    assert [(one.role, one.method, one.done) for one in found] == [
        ("baseline", "", True), ("search", "random", True), ("search", "random/greedy", False),
        ("search", "random", False), ("search", "random/greedy", False),
    ]  # fmt: skip
    assert (found[0].base, found[0].test) == (score(0.25), None)
    assert (found[1].test, found[1].gpu_hours, found[1].cpu_hours) == (score(0.5), 2.0, 4.0)


def test_a_model_that_was_evaluated_alone_can_be_the_reference(make):
    paths = make(baseline_only=True)
    left(paths, 0, 0.25)
    (one,) = (one for one, _ in measured([str(paths.root)], "builtin:tiny-qwen3"))
    assert one.role == "reference"
    with pytest.raises(NotFound, match="no run has evaluated Large alone") as refused:
        measured([str(paths.root)], "Large")
    assert "builtin:tiny-qwen3" in (refused.value.hint or "")


def test_the_reference_that_is_asked_for_is_the_only_one(make, tmp_path):
    large = tmp_path / "large"
    large.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (large / name).write_text("{}")
    paths = make(reference_models=(str(large),), baseline=True)
    for number in range(3):
        left(paths, number, 0.25, 0.5)
    asked = [(one.role, one.model) for one, _ in measured([str(paths.root)], "builtin:tiny-qwen3")]
    assert asked == [("reference", "builtin:tiny-qwen3"), ("search", "builtin:tiny-qwen3")]
    assert [one.role for one, _ in measured([str(paths.root)], str(large))] == ["baseline", "reference", "search"]


def test_a_search_that_is_named_twice_counts_once(make, tmp_path):
    paths = make()
    left(paths, 0, 0.25, 0.5)
    (tmp_path / "link").symlink_to(paths.root)
    assert len(measured([str(paths.root), f"{paths.root}/", str(tmp_path / "link")])) == 1


def test_searches_of_other_budgets_are_told(make, tmp_path):
    one, other = make(max_nodes=1), make(max_nodes=2, search_cpu_hours=3)
    for paths in (one, other):
        left(paths, 0, 0.25, 0.5)
    (row,) = bench_rows(measured([str(one.root), str(other.root)]))
    said = "mini-triage: searches of random had different budgets: 1 rounds of 1 trial(s); 2 rounds of 1 trial(s), 3 CPU-hours"
    assert said in notes([row])


def test_what_a_search_has_cost_counts_though_it_failed_and_was_begun_anew(make):
    paths = make()
    search = make_element_search(paths, read_config(paths), read_config(paths).elements()[0])
    with Lease(search) as lease, Store.open(search, guard=lease) as store:
        store.record(AgentCalled(call="1", node=0, role="researcher", model="m", usage=LlmUsage(money=1.5)))
    search.root.rename(paths.element(0).root / "search-1")
    left(paths, 0, 0.25, 0.5)
    ((one, _),) = measured([str(paths.root)])
    assert one.money == 1.5


def test_a_run_is_a_sweep_or_a_search(make):
    make()
    with pytest.raises(NotFound, match="'nothing' is neither a sweep nor a search"):
        measured(["nothing"])


@pytest.mark.parametrize(
    ("researcher", "policy", "without", "model", "wanted"),
    [
        ("playbook", "uct", "nothing", None, "playbook"),
        ("llm", "uct", "nothing", "Big-80B", "llm Big-80B"),
        ("tpe", "random", "nothing", "Big-80B", "tpe/random"),
        ("llm", "greedy", "insights", "Big-80B", "llm Big-80B/greedy without insights"),
    ],
)
def test_a_column_is_called_by_what_is_not_the_default(researcher, policy, without, model, wanted):
    assert method_of(researcher, PolicySettings(name=policy), without, model) == wanted


@pytest.mark.parametrize("form", ["--json", "--csv", "--latex", "--html", ""])
def test_the_command_prints_every_format(make, monkeypatch, capsys, form):
    paths = make(baseline=True)
    left(paths, 0, 0.25)
    monkeypatch.setattr("sys.argv", ["hpc-trex", "ftbench", "table", str(paths.root), *([form] if form else [])])
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr().out
    assert end.value.code == 0
    assert "mini-triage" in told
    if form == "--json":
        (row,) = json.loads(told)["rows"]
        assert (row["base"]["value"], row["reference"]) == (0.25, None)


def test_two_formats_at_once_are_refused(make, monkeypatch, capsys):
    paths = make()
    monkeypatch.setattr("sys.argv", ["hpc-trex", "ftbench", "table", str(paths.root), "--csv", "--html"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "give one" in capsys.readouterr().err
