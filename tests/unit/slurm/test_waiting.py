"""Why jobs wait, in plain words, with one question to Slurm at most."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpc_trex.models import AttemptState, AttemptView, JobKind, Profile
from hpc_trex.slurm.commands import Answer
from hpc_trex.slurm.failures import _PENDING, pending_hint
from hpc_trex.slurm.waiting import why_waiting

SLURM = Profile(name="site", scheduler="slurm")


def attempt(token: str, state: AttemptState) -> AttemptView:
    return AttemptView(token=token, node=1, trial=1, attempt=1, kind=JobKind.TRAIN, state=state, directory="d")


class Slurm:
    """One answer, and what was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, command):
        self.asked.append(command[0])
        return self.answer


def test_the_jobs_that_wait_are_told_by_reason_with_plain_words_in_one_question():
    slurm = Slurm(
        Answer(
            0,
            "1|PENDING|AssocGrpGRESMinutes||a\n2|PENDING|AssocGrpGRESMinutes||b\n3|PENDING|PartitionDown||c\n"
            "4|RUNNING|None|n1|d\n5|PENDING|Priority||of another search\n6|PENDING|NewWord||e\n",
            "",
        )
    )
    found = why_waiting(SLURM, [attempt(token, AttemptState.QUEUED) for token in "abcde"], ask=slurm)
    assert [str(one) for one in found] == [
        "2 jobs, AssocGrpGRESMinutes: the account's GPU-hours are used up: use another account, or ask for more hours",
        "1 job, PartitionDown: the partition is down",
        "1 job, NewWord",
    ]
    assert found[0].jobs == ("1", "2")
    assert slurm.asked == ["squeue"]


def test_where_no_job_waits_or_there_is_no_queue_nobody_is_asked():
    slurm = Slurm(Answer(0, "", ""))
    assert why_waiting(SLURM, [attempt("a", AttemptState.RUNNING)], ask=slurm) == []
    assert why_waiting(Profile(name="here"), [attempt("a", AttemptState.QUEUED)], ask=slurm) == []
    assert slurm.asked == []


def test_a_slurm_that_does_not_answer_is_said_and_no_error():
    slurm = Slurm(Answer(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"))
    (found,) = why_waiting(SLURM, [attempt("a", AttemptState.QUEUED)], ask=slurm)
    assert str(found).startswith("1 job, Slurm does not answer: slurm_load_jobs error: Unable to contact")


def test_a_job_that_sbatch_did_not_take_is_in_no_queue_and_is_told_with_what_was_noted():
    slurm = Slurm(Answer(0, "1|PENDING|Priority||a\n2|RUNNING|None|n1|b\n3|FAILED|BadConstraints||c\n", ""))
    intents = [attempt(token, AttemptState.INTENT) for token in "abc"]
    *_, told = why_waiting(SLURM, intents, refused="no more jobs: QOSMaxSubmit", ask=slurm)
    assert (str(told), told.jobs) == ("1 job, not submitted yet: no more jobs: QOSMaxSubmit", ("c",))
    assert [one.reason for one in why_waiting(SLURM, intents, ask=slurm)] == ["Priority"]


@pytest.mark.parametrize(
    ("reason", "word"),
    [("AssocGrpGRESMinutes", "used up"), ("AssocGrpCPUMinutesLimit", "used up"), ("AssocGrpBillingMinutes", "used up"),
     ("AssocGrpGRES", "in use"), ("AssocGrpGRESRunMinutes", "promised")],
)  # fmt: skip
def test_an_account_out_of_hours_is_told_from_one_whose_gpus_are_busy(reason, word):
    assert word in pending_hint(reason)


def test_every_reason_that_we_know_is_on_the_troubleshooting_page():
    page = (Path(__file__).resolve().parents[3] / "docs" / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \|$", page, re.MULTILINE)
    assert rows == list(_PENDING)
