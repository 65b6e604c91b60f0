"""Slurm, GPUs and the compute node: what was found becomes a verdict, and a missing command never a crash."""

from __future__ import annotations

import pytest

from hpc_trex.doctor import probe, queue, software
from hpc_trex.doctor.check import Verdict, worst
from hpc_trex.doctor.node import Facts
from hpc_trex.models import Profile
from hpc_trex.slurm.commands import NOT_FOUND, Answer
from hpc_trex.slurm.profiles import load_profile
from hpc_trex.slurm.scheduler import JobRef, JobState, JobStatus

SITE = load_profile("example-gres")


def asking(**answers: Answer):
    return lambda command: answers.get(command[0], Answer(NOT_FOUND, "", f"{command[0]}: command not found"))


TAKES = Answer(0, "", "sbatch: Job 7 to start at 2026-11-02T09:30:00 using 8 processors on nodes a01 in partition gpu")


def verdicts(profile: Profile, tmp_path, **answers: Answer) -> dict[str, str]:
    return {check.name: check.verdict.value for check in queue.check_slurm(profile, tmp_path, ask=asking(**answers))}


def test_a_slurm_that_answers_is_ok_line_by_line(tmp_path):
    found = verdicts(SITE, tmp_path, sbatch=TAKES, squeue=Answer(0, "", ""), sacct=Answer(0, "", ""))
    assert found == dict.fromkeys(("sbatch", "squeue", "sacct", "polling"), "ok")


def test_no_slurm_at_all_is_told_not_raised(tmp_path):
    found = verdicts(SITE, tmp_path)
    assert (found["sbatch"], found["squeue"], found["sacct"]) == ("failure", "failure", "ok")


@pytest.mark.parametrize(
    ("sacct", "accounting", "verdict"),
    [
        (Answer(1, "", "Slurm accounting storage is disabled"), "auto", "ok"),
        (Answer(1, "", "Slurm accounting storage is disabled"), "yes", "failure"),
        (Answer(1, "", "sacct: error: slurmdbd: Connection refused"), "auto", "warning"),
        (Answer(0, "", ""), "no", "ok"),
    ],
)
def test_accounting_is_compared_with_the_profile(tmp_path, sacct, accounting, verdict):
    profile = SITE.model_copy(update={"accounting": accounting})
    assert verdicts(profile, tmp_path, sbatch=TAKES, squeue=Answer(0, "", ""), sacct=sacct)["sacct"] == verdict


def test_a_profile_beyond_its_own_limits_and_an_impolite_one_are_named(tmp_path):
    profile = SITE.model_copy(update={"max_minutes": 60, "poll_seconds": 1.0})
    found = verdicts(profile, tmp_path, sbatch=TAKES, squeue=Answer(0, "", ""))
    assert (found["profile"], found["polling"]) == ("failure", "warning")


def test_a_refused_job_names_the_key(tmp_path):
    refused = Answer(
        1, "", "sbatch: error: invalid partition specified: gpu\nallocation failure: Invalid partition name specified"
    )
    check = queue.check_slurm(SITE, tmp_path, ask=asking(sbatch=refused))[0]
    assert check.verdict is Verdict.FAILURE
    assert "correct in profile example-gres: partition" in check.remedy


SMI = "NVIDIA A100-SXM4-80GB, 81920 MiB, 550.54.15, 8.0\nNVIDIA A100-SXM4-80GB, 81920 MiB, 550.54.15, 8.0\n"
TURING = "Tesla T4, 15360 MiB, 550.54.15, 7.5\nmixed up\n"


def test_gpus_and_flash_attention_are_judged_by_compute_capability():
    ampere = software.gpus(ask=asking(**{"nvidia-smi": Answer(0, SMI, "")}))
    turing = software.gpus(ask=asking(**{"nvidia-smi": Answer(0, TURING, "")}))
    assert (software.capability_of(ampere), software.capability_of(turing)) == (8.0, 7.5)
    assert software.capability_of(ampere, {"capability": [[9, 0], [8, 6]]}) == 8.6
    assert (
        "2 x NVIDIA A100-SXM4-80GB 81920 MiB"
        in software.check_gpus(ampere, asked=1, facts={"cuda": True, "gpus": 2}).found
    )
    assert "SDPA is used" in software.check_flash("2.8.3", 7.5).found
    assert "these GPUs could use it" in software.check_flash("", 8.0).found
    assert software.check_flash("2.8.3", 9.0).found == "2.8.3"
    assert software.check_flash("", 9.0, "undefined symbol").verdict is Verdict.WARNING


def test_no_gpu_is_a_warning_only_where_the_profile_asks_for_one():
    none = software.gpus(ask=asking())
    assert software.check_gpus(none, asked=0).verdict is Verdict.OK
    assert software.check_gpus(none, asked=1).verdict is Verdict.WARNING
    assert software.check_gpus(none, asked=1, facts={"cuda": True, "gpus": 1}).verdict is Verdict.OK, "ROCm"


def test_other_versions_on_the_compute_node_are_told_by_what_they_cost():
    here = {"python": "3.11.7", "hpc-trex": "0.1.0", "submitit": "1.5.4", "torch": "2.9"}
    compare = software.compare_versions
    assert compare(here, here).verdict is Verdict.OK
    assert compare(here, here | {"torch": "2.8"}).verdict is Verdict.OK
    assert compare(here, here | {"python": "3.12.1"}).verdict is Verdict.WARNING
    assert compare(here, here | {"hpc-trex": "0.0.9"}).verdict is Verdict.FAILURE


def facts(**changes: object) -> Facts:
    given: dict[str, object] = {
        "host": "a01", "versions": {}, "gpus": [], "torch": {}, "network": {}, "sbatch_code": 0, "sbatch_words": "",
        "scratch": "/scratch/7", "scratch_from": "SLURM_TMPDIR", "scratch_free": 10**12, "lease": "refused", "lock": "refused",
        "clock": 0.1,
    }  # fmt: skip
    return Facts.model_validate(given | changes)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "ok"),
        ({"lease": "granted"}, "failure"),
        ({"lease": "No such file or directory"}, "failure"),
        ({"lock": "granted"}, "ok"),
        ({"scratch_free": -1}, "failure"),
        ({"scratch_free": 10**9}, "warning"),
        ({"clock": 300.0}, "ok"),
    ],
)
def test_what_the_compute_node_did_with_the_disks_is_judged(changes, verdict):
    assert worst(probe.judge_disks(facts(**changes))) is Verdict(verdict)


def test_sbatch_refused_on_compute_nodes_leads_to_the_other_ways():
    assert probe.judge_sbatch(facts()).verdict is Verdict.OK
    check = probe.judge_sbatch(
        facts(sbatch_code=1, sbatch_words="sbatch: error: jobs must be submitted from a login node")
    )
    assert check.verdict is Verdict.WARNING
    assert "--in-allocation" in check.remedy


def test_a_probe_that_pends_or_dies_is_told_in_plain_words(tmp_path):
    job = JobRef("t", "7", tmp_path)
    pending = probe._why(job, JobStatus(JobState.QUEUED, "7", "Priority"), 120)
    assert pending.verdict is Verdict.WARNING
    assert "other jobs are before it in the queue" in pending.found
    (tmp_path / "job.err").write_text("slurmstepd: x\n/no/python: No such file or directory\n")
    dead = probe._why(job, JobStatus(JobState.ENDED, "7", "FAILED 127:0"), 120)
    assert dead.verdict is Verdict.FAILURE
    assert "/no/python: No such file or directory" in dead.found


def test_the_probe_is_small_and_has_a_gpu_where_trainings_have():
    asked = probe.resources(SITE)
    assert (asked.gpus, asked.cpus_per_task, asked.mem_gb, asked.minutes) == (1, 2, 4.0, 5)
    assert probe.resources(load_profile("testcluster").model_copy(update={"max_minutes": 3})).minutes == 3
