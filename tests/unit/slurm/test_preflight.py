"""A job that Slurm would refuse, or that would wait for ever, is found before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.errors import UsageProblem
from hpc_trex.models import JobKind, Profile, Resources
from hpc_trex.slurm import preflight
from hpc_trex.slurm.commands import Answer
from hpc_trex.slurm.profiles import load_profile
from hpc_trex.slurm.scheduler import JobRequest, SubmitRefused, SubmitUnavailable
from hpc_trex.slurm.submitit_backend import SlurmScheduler

SITE = load_profile("example-gres")


def changed(shape: str, **changes: int) -> Profile:
    wanted = getattr(SITE, shape).model_copy(update=changes)
    return SITE.model_copy(update={shape: wanted, "max_minutes": 1440, "gpus_on_a_node": 4})


@pytest.mark.parametrize("shape", preflight.SHAPES)
def test_more_time_than_the_partition_gives_is_refused_without_asking(shape):
    preflight.check_limits(changed(shape, minutes=1440))
    with pytest.raises(UsageProblem) as caught:
        preflight.check_limits(changed(shape, minutes=1441))
    assert f"{shape}.minutes = 1441" in caught.value.message
    assert f"{shape}.minutes = 1440 or less" in caught.value.hint


def test_more_gpus_than_a_node_has_are_refused_without_asking():
    with pytest.raises(UsageProblem) as caught:
        preflight.check_limits(changed("evaluate", gpus_per_node=5))
    assert "evaluate.gpus_per_node = 5" in caught.value.message
    with pytest.raises(UsageProblem, match="has 0"):
        preflight.check_limits(SITE.model_copy(update={"gpus_on_a_node": 0}))


def test_the_very_script_that_would_be_submitted_is_shown_to_slurm(tmp_path):
    seen: list[str] = []

    def ask(command):
        assert command[:2] == ("sbatch", "--test-only")
        seen.append(Path(command[2]).read_text())
        return Answer(
            0,
            "",
            "banner\nsbatch: Job 7 to start at 2026-11-02T09:30:00 using 8 processors on nodes a01 in partition gpu\n",
        )

    request = JobRequest("train", tmp_path, tmp_path / "spec.json", JobKind.TRAIN, SITE.train)
    estimate = preflight.test_only(SITE, request, ask=ask)
    assert seen == [SlurmScheduler(SITE).render(request)]
    assert str(estimate) == "would start at 2026-11-02T09:30:00 on a01"
    preflight.ask_shape(SITE.model_copy(update={"controller_partition": "cpu"}), "controller", tmp_path, ask=ask)
    assert "#SBATCH --partition=cpu" in seen[-1]
    assert "--controller-job" in seen[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (
            "sbatch: error: invalid partition specified: gpu\nallocation failure: Invalid partition name specified",
            "partition",
        ),
        ("allocation failure: Requested node configuration is not available", "prepare.gpus_per_node"),
        ("allocation failure: Invalid account or account/partition combination specified", "account"),
        ("allocation failure: Requested time limit is invalid (missing or exceeds some limit)", "prepare.minutes"),
    ],
)
def test_a_refusal_names_the_key_of_the_job_that_was_refused(tmp_path, said, hint):
    with pytest.raises(SubmitRefused) as caught:
        preflight.ask_shape(SITE, "prepare", tmp_path, ask=lambda command: Answer(1, "", said))
    assert caught.value.exit_code == 5
    assert hint in caught.value.hint
    assert "train." not in caught.value.hint


@pytest.mark.parametrize(
    "said",
    [
        "allocation failure: Unable to contact slurm controller (connect failure)",
        "allocation failure: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "sbatch: error: QOSMaxSubmitJobPerUserLimit",
        "something never seen before",
    ],
)
def test_a_slurm_that_takes_nothing_just_now_is_a_warning_at_launch(tmp_path, said, monkeypatch):
    monkeypatch.setattr(preflight.shutil, "which", lambda name: f"/usr/bin/{name}")
    silent = lambda command: Answer(1, "", said)  # noqa: E731
    with pytest.raises(SubmitUnavailable):
        preflight.ask_shape(SITE, "train", tmp_path, ask=silent)
    (line,) = preflight.preflight(SITE, tmp_path, ask=silent)
    assert line.startswith("warning: ")


def test_without_sbatch_the_limits_are_looked_at_and_the_rest_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight.shutil, "which", lambda name: None)
    never = lambda command: pytest.fail(f"asked {command}")  # noqa: E731
    (line,) = preflight.preflight(SITE, tmp_path, ask=never)
    assert "sbatch is not here" in line
    assert preflight.preflight(Profile(name="x"), tmp_path, ask=never) == []
    with pytest.raises(UsageProblem):
        preflight.preflight(changed("train", minutes=99999), tmp_path, ask=never)


def test_where_cpus_come_with_the_gpus_a_gpu_job_does_not_ask_for_them(tmp_path):
    profile = load_profile("example-pyxis")
    scheduler = SlurmScheduler(profile)
    gpu = scheduler.render(JobRequest("t", tmp_path, tmp_path / "s", JobKind.TRAIN, profile.train))
    cpu = scheduler.render(JobRequest("t", tmp_path, tmp_path / "s", JobKind.PREPARE, Resources(cpus_per_task=4)))
    assert "cpus-per-task" not in gpu
    assert "export OMP_NUM_THREADS=14" in gpu
    assert "#SBATCH --cpus-per-task=4" in cpu
    assert "--cpus-per-task=4" in cpu.split("srun", 1)[1]
