"""``profile init`` on clusters of other shapes: what is chosen, what is tried, and that the file reads back."""

from __future__ import annotations

import tomllib

import pytest

from hpc_trex.errors import EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.models import Profile
from hpc_trex.slurm.commands import NOT_FOUND, Answer
from hpc_trex.slurm.draft import Draft, draft, text
from hpc_trex.slurm.scheduler import SubmitRefused, SubmitUnavailable
from hpc_trex.slurm.survey import survey
from tests.unit.slurm.sites import MI300, Site, partition


def made(site: Site, **options: str) -> Draft:
    return draft(survey(ask=site.ask), ask=site.ask, **options)


def test_a_big_site_gets_its_largest_open_partition_and_a_gpus_share_of_a_node():
    found = made(MI300)
    profile = found.profile
    assert (profile.partition, profile.gpu_type, profile.gpus_on_a_node) == ("mi300", "mi300x", 8)
    assert (profile.max_minutes, profile.train.minutes) == (10080, 240)
    assert (profile.train.cpus_per_task, profile.train.mem_gb) == (12, 168.0)
    assert profile.controller_partition == "interactive"
    assert profile.controller.minutes == 720
    assert profile.name == "big-one-"
    assert found.refused == ()


def test_the_file_is_commented_valid_and_reads_back_as_the_same_profile():
    found = made(MI300)
    written = text(found)
    assert Profile.model_validate(tomllib.loads(written)) == found.profile
    for words in (
        "theirs",
        "for other accounts",
        "hidden",
        "not up",
        "mi300x",
        "Your accounts: ml-group [qos normal, long]",
    ):
        assert words in written
    assert max(map(len, written.splitlines())) < 200


@pytest.mark.parametrize("limit", ["UNLIMITED", "30-00:00:00"])
def test_no_limit_or_weeks_become_a_day_and_the_file_says_so(limit):
    site = Site([partition("gpu", MaxTime=limit)], "gpu|2|32|256000|idle|gpu:a100:4(S:0-1)\n")
    found = made(site)
    assert found.profile.max_minutes == 1440
    assert "a day is asked for at most" in text(found)


def test_a_short_limit_bounds_every_kind_of_job():
    found = made(Site([partition("gpu", MaxTime="00:45:00")], "gpu|2|32|256000|idle|gpu:2\n")).profile
    assert {found.train.minutes, found.prepare.minutes, found.evaluate.minutes, found.controller.minutes} == {45}


@pytest.mark.parametrize(
    ("refuses", "wanted"),
    [
        (lambda options: "gres" in options, {"gpu_request": "gpus-per-node"}),
        (lambda options: "gres" in options or "gpus-per-node" in options, {"gpu_request": "gpus"}),
        (lambda options: "h100" in options.get("gres", ""), {"gpu_request": "gpus-per-node", "gpu_type": "h100"}),
        (lambda options: any("h100" in value for value in options.values()), {"gpu_request": "gres", "gpu_type": None}),
        (lambda options: "mem" in options, {"mem_request": False, "gpu_request": "gres"}),
        (lambda options: "cpus-per-task" in options and "gres" in options, {"gpu_request": "gpus-per-node"}),
        (lambda options: "cpus-per-task" in options and any("h100" in str(value) for value in options.values()), {"gpu_type": None}),
    ],
)  # fmt: skip
def test_the_first_spelling_that_the_site_takes_is_the_one_written(refuses, wanted):
    site = Site(
        [partition("gpu")], "gpu|2|32|256000|idle|gpu:h100:4\n",
        takes=lambda options: "Invalid generic resource (gres) specification" if refuses(options) else "",
    )  # fmt: skip
    found = made(site)
    assert found.profile.model_dump(include=set(wanted)) == wanted
    assert found.refused, "what was refused first stands in the file"
    assert "refused: gres h100" in text(found)


def test_a_site_that_allots_cpus_by_gpu_gets_jobs_without_cpus_per_task():
    def takes(options: dict[str, str]) -> str:
        gpus = any(key in options for key in ("gres", "gpus", "gpus-per-node"))
        return "Batch job submission failed: CPUs may not be given" if gpus and "cpus-per-task" in options else ""

    found = made(Site([partition("gpu")], "gpu|2|32|256000|idle|gpu:4\n", takes=takes)).profile
    assert (found.cpu_request, found.mem_request) == (False, True)


def test_an_account_is_found_where_slurm_takes_no_job_without():
    def takes(options: dict[str, str]) -> str:
        return (
            "" if options.get("account") == "second" else "Invalid account or account/partition combination specified"
        )

    site = Site([partition("gpu")], "gpu|2|32|256000|idle|gpu:4\n", takes=takes, assoc="first||a|\nsecond||a|\n")
    assert made(site).profile.account == "second"
    assert len([tried for tried in site.tried if tried.get("account") == "first"]) == 1, "no spelling mends an account"


def test_a_partition_that_takes_no_job_without_gpu_gives_the_data_job_one_and_the_controller_another_partition():
    def takes(options: dict[str, str]) -> str:
        return "" if "gres" in options or options.get("partition") == "cpu" else "gres/gpu is required here"

    site = Site(
        [partition("gpu", Default="YES"), partition("cpu")],
        "gpu|2|32|256000|idle|gpu:4\ncpu|9|32|256000|idle|(null)\n",
        takes=takes,
    )
    found = made(site).profile
    assert (found.prepare.gpus_per_node, found.controller_partition) == (1, "cpu")
    only = Site([partition("gpu", Default="YES")], "gpu|2|32|256000|idle|gpu:4\n", takes=takes)
    assert "--as-job will not do here" in text(made(only))


def test_slices_are_taken_only_where_there_is_no_whole_gpu():
    nodes = "gpu|1|32|256000|idle|gpu:nvidia_a100_1g.5gb:28,gpu:a100:2\n"
    assert made(Site([partition("gpu")], nodes)).profile.gpu_type == "a100"
    only = made(Site([partition("gpu")], "gpu|1|28|280000|idle|gpu:1g.10gb:28,shard:12\n"))
    assert (only.profile.gpu_type, only.profile.gpus_on_a_node) == ("1g.10gb", 28)
    assert "slices" in text(only)


def test_a_site_without_gpus_trains_on_cpus():
    found = made(Site([partition("batch", Default="YES")], "batch|9|64|256000|idle|(null)\n"))
    assert (found.profile.train.gpus_per_node, found.profile.gpus_on_a_node) == (0, 0)
    assert "No GPUs" in text(found)


def test_preemption_is_what_slurm_says_of_the_partition():
    partitions = [partition("spot", PreemptMode="CANCEL"), partition("paid", PriorityTier="9", MaxNodes="2")]
    nodes = "spot|9|32|256000|idle|gpu:4\npaid|1|32|256000|idle|gpu:4\n"
    site = Site(partitions, nodes, mode="CANCEL", kind="preempt/partition_prio")
    assert (made(site).profile.partition, made(site).profile.preemption) == ("paid", "OFF")
    chosen = made(site, partition="spot")
    assert chosen.profile.preemption == "CANCEL"
    assert "a new attempt goes on" in text(chosen)


@pytest.mark.parametrize(
    ("sacct", "accounting"),
    [
        (Answer(0, "", ""), "yes"),
        (Answer(1, "", "Slurm accounting storage is disabled"), "no"),
        (Answer(NOT_FOUND, "", "sacct: command not found"), "no"),
        (Answer(1, "", "sacct: error: slurmdbd: Connection refused"), "auto"),
    ],
)
def test_whether_sacct_answers_is_asked_once_and_written_down(sacct, accounting):
    assert made(Site([partition("gpu")], "gpu|2|32|256000|idle|gpu:4\n", sacct=sacct)).profile.accounting == accounting


def test_wrong_wishes_are_answered_with_what_there_is():
    with pytest.raises(NotFound) as caught:
        made(MI300, partition="mi30")
    assert "did you mean mi300?" in caught.value.hint
    with pytest.raises(UsageProblem, match="name"):
        made(MI300, name="my site/x")
    with pytest.raises(SubmitRefused) as refused:
        made(Site([partition("gpu")], "gpu|2|32|256000|idle|gpu:4\n", takes=lambda options: "no jobs on Mondays"))
    assert "no jobs on Mondays" in refused.value.message
    assert "--partition" in refused.value.hint


def test_a_slurm_that_is_not_there_or_does_not_answer_is_told_apart():
    for answer, words in (
        (Answer(NOT_FOUND, "", "scontrol: command not found"), "no Slurm here"),
        (Answer(1, "", "slurm_load_conf: Unable to contact slurm controller (connect failure)"), "does not answer"),
    ):
        with pytest.raises(EnvironmentProblem, match=words):
            survey(ask=lambda command, answer=answer: answer)
    site = Site(
        [partition("gpu")], "gpu|2|32|256000|idle|gpu:4\n", takes=lambda options: "Unable to contact slurm controller"
    )
    with pytest.raises(SubmitUnavailable):
        made(site)
