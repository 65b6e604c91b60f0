"""From a request to a frozen sweep: what is asked for, what is refused, and with which words."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
import tomli_w

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.models import NoiseSettings, Profile, Resources
from hpc_trex.slurm.commands import Answer
from hpc_trex.sweep.folder import find_sweep, list_sweeps, read_config
from hpc_trex.sweep.plan import element_resources, inner_profile, plan_lines, plan_sweep, read_request
from hpc_trex.sweep.records import SweepRequest
from hpc_trex.sweep.script import ask_slurm
from hpc_trex.sweep.submit import plan_arrays, submit_arrays
from tests.noop import noop_profile
from tests.noop.sweeps import written


def request(**given: object) -> SweepRequest:
    return SweepRequest.model_validate(given)


def test_what_was_typed_wins_over_the_file(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('tasks = ["mini-extract"]\nseeds = [4, 5]\nthrottle = 3\n')
    made = read_request(file, {"seeds": (1,)})
    assert (made.tasks, made.seeds, made.throttle) == (("mini-extract",), (1,), 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('task = ["x"]\n', "did you mean tasks"),
        ("throttle = 0\n", "greater than or equal to 1"),
        ('seeds = "many"\n', "seeds"),
        ("seeds = [\n", "not a valid TOML"),
    ],
)
def test_a_bad_file_names_the_key_and_the_file(tmp_path, text, words):
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    with pytest.raises(UsageProblem) as caught:
        read_request(file, {})
    assert "sweep.toml" in caught.value.message
    assert words in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"tasks": ()}, UsageProblem, "tasks is empty"),
        ({"seeds": (1, 1)}, UsageProblem, "names one twice"),
        ({"tasks": ("mini-triagee",)}, NotFound, "mini-triage"),
        ({"researchers": ("playbok",)}, UsageProblem, "playbok"),
        ({"researchers": ("random", "llm")}, UsageProblem, "needs a model"),
        ({"policies": ("best",)}, UsageProblem, "best"),
        ({"researchers": ("playbook",), "without": ("tree",)}, UsageProblem, "'tree' is no"),
        ({"researchers": ("tpe",), "without": ("insights",)}, UsageProblem, "tpe use neither"),
        ({"without": ("insights", "insights")}, UsageProblem, "names one twice"),
        ({"models": ("builtin:no",)}, NotFound, "builtin:no"),
        ({"profile": "nowhere"}, NotFound, "nowhere"),
    ],
)
def test_a_request_that_cannot_be_is_refused_before_anything_is_made(make, given, error, words):
    with pytest.raises(error) as caught:
        make(**given)
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert list_sweeps() == []


def test_elements_are_all_combinations_a_whole_seed_after_the_other(make):
    config = read_config(make(tasks=("mini-triage", "mini-extract"), seeds=(7, 8), researchers=("random", "tpe"), policies=("uct", "greedy")))  # fmt: skip
    elements = config.elements()
    assert len(elements) == 16
    assert len({tuple(one)[1:] for one in ((e.number, e.task, e.researcher, e.policy, e.seed) for e in elements)}) == 16
    assert [one.seed for one in elements] == [7] * 8 + [8] * 8


def test_what_is_done_without_is_an_axis_of_the_researchers_that_use_it(make):
    config = read_config(
        make(
            researchers=("playbook", "tpe"),
            without=("nothing", "bad-cases", "bad-cases+insights"),
            search_cpu_hours=0.5,
        )
    )
    elements = config.elements()
    assert [(one.researcher, one.without) for one in elements] == [
        ("playbook", "nothing"),
        ("playbook", "bad-cases"),
        ("playbook", "bad-cases+insights"),
        ("tpe", "nothing"),
    ]
    assert [config.researcher_of(one).without for one in elements] == [
        (),
        ("bad-cases",),
        ("bad-cases", "insights"),
        (),
    ]
    shown = "\n".join(plan_lines(config, 4, 0))
    assert "without nothing, bad-cases, bad-cases+insights" in shown
    assert "each search capped at 0.5 CPU-hours" in shown


def test_a_sweep_of_before_that_names_no_parts_has_the_elements_it_had(make):
    paths = make(seeds=(3, 4), researchers=("playbook", "random"))
    before = read_config(paths).elements()
    body = tomllib.loads(paths.config.read_text())
    assert body.pop("without") == ["nothing"]
    paths.config.write_text(tomli_w.dumps(body))
    assert read_config(paths).elements() == before


def test_a_sweep_of_baselines_knows_no_method(make):
    config = read_config(make(baseline_only=True, researchers=("random", "tpe"), seeds=(0, 1)))
    assert [(one.researcher, one.policy) for one in config.elements()] == [("-", "-")] * 2


def test_a_name_is_taken_once_and_the_next_one_is_free(make):
    assert make().root.name == "sweep-1"
    assert make().root.name == "sweep-2"
    with pytest.raises(UsageProblem, match="exists already"):
        make(name="sweep-1")
    assert find_sweep().root.name == "sweep-2"
    with pytest.raises(NotFound, match="sweep-1"):
        find_sweep("swep-1")


def test_the_rows_are_frozen_and_the_sealed_test_is_private(make):
    paths = make()
    test = paths.task(0) / "sealed" / "test.jsonl"
    assert test.stat().st_mode & 0o077 == 0
    assert test.parent.stat().st_mode & 0o077 == 0


def test_a_sweep_of_a_group_is_readable_for_the_group(make, tmp_path):
    private = make(scheduler="slurm")
    assert private.config.stat().st_mode & 0o077 == 0
    profile = written(tmp_path, noop_profile(name="ours", scheduler="slurm", python=None, share="group"))
    before = os.umask(0o077)
    try:
        paths = make(scheduler="slurm", profile=profile)
        assert paths.config.stat().st_mode & 0o070 == 0o060
        config = read_config(paths)
        submit_arrays(paths, config, plan_arrays(config, [], [], [0]), print, ask=lambda _: Answer(0, "41\n", ""))
        modes = [path.stat().st_mode & 0o077 for path in (paths.array(1).script, paths.array(1).record)]
        assert modes == [0o060, 0o060]
    finally:
        os.umask(before)


def test_where_slurm_is_not_installed_a_plan_is_shown_all_the_same(make, monkeypatch):
    paths = make(scheduler="slurm")
    monkeypatch.setenv("PATH", "/nowhere")
    assert ask_slurm(paths, read_config(paths)).startswith("warning: sbatch is not here")


def test_an_element_gets_room_for_its_jobs_and_its_controller():
    profile = Profile(
        name="p", scheduler="slurm", train=Resources(gpus_per_node=2, cpus_per_task=8, mem_gb=32, minutes=60)
    )
    asked = element_resources(profile, request(parallel=3, max_nodes=4, trials=2))
    assert (asked.gpus_per_node, asked.cpus_per_task, asked.mem_gb) == (6, 24, 97)
    assert asked.minutes == 5 * 60 + 4 * profile.prepare.minutes + 3 * profile.evaluate.minutes
    noise = NoiseSettings(floor_repeats=1, final_candidates=3, final_seeds=2)
    alone = element_resources(profile, request(max_nodes=2, trials=1, noise=noise))
    assert alone.minutes == (2 + 1 + 3) * 60 + 2 * profile.prepare.minutes + 3 * profile.evaluate.minutes
    assert element_resources(profile, request(minutes=90)).minutes == 90
    short = profile.model_copy(update={"max_minutes": 240})
    assert element_resources(short, request(max_nodes=50)).minutes == 240
    with pytest.raises(UsageProblem, match="longer than profile p takes"):
        element_resources(short, request(minutes=300))


def test_the_jobs_inside_are_local_processes_of_the_element():
    profile = Profile(
        name="p", scheduler="slurm", modules=("cuda/12",), setup=("echo hi",), python="/opt/python", poll_seconds=30
    )
    inside = inner_profile(profile, request(parallel=2))
    assert (inside.scheduler, inside.parallel, inside.poll_seconds) == ("local", 2, 1)
    assert (inside.modules, inside.setup, inside.python) == ((), (), "/opt/python")
    boxed = profile.model_copy(update={"runner": ("apptainer", "exec", "x.sif")})
    assert inner_profile(boxed, request()).python is None, "inside the image the element's own interpreter is the one"


def test_jobs_inside_that_would_submit_or_span_nodes_are_refused(tmp_path):
    wide = Profile(name="p", scheduler="slurm", train=Resources(nodes=2))
    with pytest.raises(UsageProblem, match="2 nodes"):
        inner_profile(wide, request())
    with pytest.raises(UsageProblem, match="submit further jobs"):
        inner_profile(wide, request(inner_profile=written(tmp_path, noop_profile(name="again"))))


def test_a_plan_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "h"))
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "c"))
    plan_sweep(request(seeds=(0, 1)))
    assert not Path(tmp_path / "h").exists()


def test_elements_are_jobs_and_never_steps(make, tmp_path):
    with pytest.raises(UsageProblem, match="whole job"):
        make(profile=written(tmp_path, noop_profile(name="stepping", scheduler="steps")))
    steps = written(tmp_path, noop_profile(name="within", scheduler="steps"))
    assert read_config(make(inner_profile=steps)).inner.scheduler == "steps"
