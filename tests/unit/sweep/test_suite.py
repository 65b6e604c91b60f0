"""A sweep over a suite: which tasks, which single evaluations beside the searches, and what is refused before anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hpc_trex.cli.main import main
from hpc_trex.cli.sweep_ftbench import command, preset
from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.suites import SUITES, refuse_not_fetched, suite_tasks
from hpc_trex.sweep.asked import brought_to, checked
from hpc_trex.sweep.element import describe
from hpc_trex.sweep.folder import read_config
from hpc_trex.sweep.plan import plan_lines, plan_sweep, read_request
from hpc_trex.sweep.records import ElementState, Standing, SweepRequest
from hpc_trex.sweep.table import table, table_text

SHIPPED = Path(__file__).resolve().parents[3] / "ftbench"


@pytest.fixture
def folder(tmp_path):
    """A user's suite: one task in a folder of its own, one as a file."""
    suite = tmp_path / "suite"
    shutil.copytree(SHIPPED / "mini-triage", suite / "b-triage")
    shutil.copyfile(SHIPPED / "mini-listops" / "card.toml", suite / "a.toml")
    return suite


def test_a_suite_is_a_name_or_a_folder_of_cards(folder, tmp_path):
    assert suite_tasks("ftbench") == SUITES["ftbench"]
    assert len(suite_tasks("ftbench")) == len(suite_tasks("ftbench-mini")) == 10
    assert suite_tasks(str(folder)) == (str(folder / "a.toml"), str(folder / "b-triage" / "card.toml"))
    assert all(load_card(task).card.name == task for tasks in SUITES.values() for task in tasks)
    with pytest.raises(NotFound, match="did you mean ftbench-mini"):
        suite_tasks("ftbench-min")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageProblem, match="holds no task card"):
        suite_tasks(str(tmp_path / "empty"))


def test_a_sweep_over_a_folder_has_its_tasks(make, folder):
    config = read_config(make(tasks=("mini-triage",), suite=""))
    assert [task.name for task in config.tasks] == ["mini-triage"]
    request = checked(SweepRequest(suite=str(folder)))
    assert request.tasks == suite_tasks(str(folder))
    with pytest.raises(UsageProblem, match="suite and tasks both"):
        checked(SweepRequest(suite="ftbench-mini", tasks=("mini-triage",)))
    with pytest.raises(UsageProblem, match="tasks names one twice"):
        checked(SweepRequest(tasks=("mini-triage", "ftbench:mini-triage")))


@pytest.fixture
def large(tmp_path):
    """A folder that looks like a model's."""
    model = tmp_path / "large"
    model.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (model / name).write_text("{}")
    return str(model)


def test_what_is_typed_of_suite_and_tasks_wins_over_the_file(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('suite = "ftbench-mini"\n')
    assert checked(read_request(file, {"tasks": ("mini-triage",)})).tasks == ("mini-triage",)
    file.write_text('tasks = ["mini-triage"]\n')
    assert len(checked(read_request(file, {"suite": "ftbench-mini"})).tasks) == 10


def test_models_are_evaluated_alone_once_and_first(make, large):
    paths = make(
        models=("builtin:tiny-qwen3",),
        reference_models=(large,),
        baseline=True,
        seeds=(4, 5),
        tasks=("mini-triage", "mini-listops"),
    )
    config = read_config(paths)
    elements = config.elements()
    assert [(one.task, one.model, one.seed, config.role(one)) for one in elements] == [
        (0, 0, 4, "baseline"), (0, 1, 4, "reference"), (1, 0, 4, "baseline"), (1, 1, 4, "reference"),
        (0, 0, 4, "search"), (1, 0, 4, "search"), (0, 0, 5, "search"), (1, 0, 5, "search"),
    ]  # fmt: skip
    assert [one.number for one in elements] == list(range(8))
    assert describe(config, elements[1]) == f"mini-triage, {large}, seed 4, reference, evaluated only"
    rows = table(config, [Standing(element=one, state=ElementState.MISSING) for one in elements], {})
    assert [(row.role, row.model, row.seeds) for row in rows[:2]] == [
        ("baseline", "builtin:tiny-qwen3", 1), ("reference", large, 1),
    ]  # fmt: skip
    assert "reference" in table_text(rows).splitlines()[2]
    lines = "\n".join(plan_lines(config, 8, 0))
    assert "(and their evaluations alone)" in lines
    assert f"reference  {large}: evaluated only" in lines


def test_a_sweep_of_baselines_has_its_references_once(make, large):
    config = read_config(make(baseline_only=True, baseline=True, reference_models=(large,), seeds=(0, 1)))
    roles = [(config.role(one), one.seed) for one in config.elements()]
    assert roles == [("reference", 0), ("baseline", 0), ("baseline", 1)]


def test_a_model_is_a_base_or_a_reference(make):
    with pytest.raises(UsageProblem, match="a base model and a reference model"):
        make(reference_models=("builtin:tiny-qwen3",))


def test_tasks_that_are_not_fetched_are_all_named_before_anything_is_planned(tmp_path, monkeypatch):
    monkeypatch.setenv("HPC_TREX_STAGE", str(tmp_path / "stage"))
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "home"))
    tasks = ("mini-triage", "lawbench", "ftbench:sst-2")
    with pytest.raises(NotFound, match="of 3 tasks 2 are not fetched on this site: lawbench, sst-2") as refused:
        plan_sweep(SweepRequest(tasks=tasks))
    assert "hpc-trex ftbench fetch lawbench sst-2" in (refused.value.hint or "")
    assert not (tmp_path / "home").exists()
    with pytest.raises(NotFound, match="task lawbench is not fetched"):
        refuse_not_fetched(["lawbench"])


def test_tasks_without_rows_need_some_brought(monkeypatch):
    monkeypatch.setattr("hpc_trex.sweep.asked.refuse_not_fetched", lambda _: None)
    tasks = ("mini-triage", "lawbench")
    with pytest.raises(UsageProblem, match="1 of 2 tasks have no training rows of their own: lawbench"):
        checked(SweepRequest(tasks=tasks))
    checked(SweepRequest(tasks=tasks, baseline_only=True))
    checked(SweepRequest(tasks=tasks, baseline=True))
    with pytest.raises(UsageProblem, match="1 of 1 tasks have no training rows"):
        checked(SweepRequest(tasks=("lawbench",), baseline=True))
    checked(SweepRequest(tasks=tasks, source=("ftbench:lawbench:mine=rows.jsonl",)))
    with pytest.raises(UsageProblem, match="no task lawbank in the sweep"):
        checked(SweepRequest(tasks=tasks, source=("lawbank:mine=rows.jsonl",)))
    with pytest.raises(UsageProblem, match="not TASK:NAME=FILE"):
        checked(SweepRequest(tasks=tasks, source=("mine=rows.jsonl",)))


def test_the_rows_that_are_brought_go_to_their_task():
    brought = ("lawbench:a=x.jsonl", "ftbench:lawbench:b=C:/y.jsonl", "gta:a=z.jsonl")
    assert brought_to("lawbench", brought) == ("a=x.jsonl", "b=C:/y.jsonl")
    assert brought_to("ftbench:gta", brought) == ("a=z.jsonl",)
    assert brought_to("sst-2", brought) == ()


def test_rows_that_are_brought_become_a_source_of_the_sweeps_task(make, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "triage: x\\nqueue:", "answer": "login"}\n')
    paths = make(source=(f"mini-triage:mine={tmp_path / 'rows.jsonl'}",))
    assert '"mine"' in (paths.task(0) / "task" / "card.json").read_text()


def test_a_task_without_rows_is_evaluated_only_beside_the_others(make):
    config = read_config(make(tasks=("mini-triage", "mini-listops"), baseline=True))
    tasks = (config.tasks[0], config.tasks[1].model_copy(update={"trains": False}))
    config = config.model_copy(update={"tasks": tasks})
    assert [(one.task, config.role(one)) for one in config.elements()] == [
        (0, "baseline"), (1, "baseline"), (0, "search"),
    ]  # fmt: skip
    assert "no rows    mini-listops: evaluated only" in "\n".join(plan_lines(config, 3, 0))
    alone = config.model_copy(update={"baseline_only": True, "baseline": False})
    assert len(alone.elements()) == 2


# ---- sweep ftbench ------------------------------------------------------------------------------------------------------


def test_the_preset_is_ten_tasks_long_searches_and_four_at_once():
    request = SweepRequest.model_validate(preset({}))
    assert (request.suite, request.max_nodes, request.throttle, request.baseline) == ("ftbench", 20, 4, True)
    assert preset({"tasks": ("mini-triage",), "max_nodes": 2, "source": ()}) == {
        "tasks": ("mini-triage",), "max_nodes": 2, "throttle": 4, "baseline": True,
    }  # fmt: skip


def test_the_command_has_the_options_of_launch_but_for_a_file():
    names = {option.name for option in command.params}
    assert {"models", "seeds", "reference_models", "profile", "llm_model", "gpu_hours", "dry_run"} <= names
    assert not names & {"file", "baseline"}


def test_the_command_shows_its_plan_and_makes_nothing(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.argv", ["hpc-trex", "sweep", "ftbench", "--suite", str(folder), "--dry-run"])
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr().out
    assert end.value.code == 0, told
    assert "20 rounds" in told
    assert "4 element(s), at most 4 at once" in told
    assert "nothing was made or submitted" in told
    assert not (tmp_path / "home").exists()


def test_the_tasks_of_a_suite_are_listed(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["hpc-trex", "ftbench", "list", "--suite", str(folder)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["task", "mini-listops", "mini-triage"]
