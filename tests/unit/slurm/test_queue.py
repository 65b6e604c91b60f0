"""Asking Slurm: how often, when, and what an outage means. Slurm's answers are put in by hand here."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.slurm.commands import Answer, ask
from hpc_trex.slurm.queue import SlurmQueue
from hpc_trex.slurm.scheduler import JobRef, JobState


class Slurm:
    """Answers by command, a clock, and a list of what was asked."""

    def __init__(self, **answers: Answer | str) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []
        self.now = 0.0

    def ask(self, command):
        self.asked.append(list(command))
        answer = self.answers.get(command[0], Answer(127, "", f"{command[0]}: command not found"))
        return Answer(0, answer, "") if isinstance(answer, str) else answer

    def queue(self, **options) -> SlurmQueue:
        return SlurmQueue(ask=self.ask, clock=lambda: self.now, **options)

    def count(self, command: str) -> int:
        return sum(asked[0] == command for asked in self.asked)


def job(token: str, job_id: str | None = None) -> JobRef:
    return JobRef(token, job_id, Path("/nowhere"))


def test_one_squeue_serves_all_jobs_and_sacct_is_left_alone_while_all_are_well():
    slurm = Slurm(squeue="".join(f"{i}|RUNNING|None|n1|t{i}\n" for i in range(500)) + "900|COMPLETED|None|n1|done\n")
    statuses = slurm.queue().poll([*(job(f"t{i}", str(i)) for i in range(500)), job("done", "900")])
    assert {status.state for token, status in statuses.items() if token != "done"} == {JobState.RUNNING}
    assert statuses["done"].state is JobState.ENDED
    assert len(slurm.asked) == 1


def test_no_question_is_asked_about_no_job():
    slurm = Slurm()
    assert slurm.queue().poll([]) == {}
    assert not slurm.asked


def test_an_outage_is_unknown_and_the_pause_grows():
    slurm = Slurm(squeue=Answer(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"))
    queue = slurm.queue(poll_seconds=10)
    times = []
    for second in range(400):
        slurm.now = float(second)
        before = slurm.count("squeue")
        status = queue.poll([job("t", "1")])["t"]
        assert status.state is JobState.UNKNOWN
        assert "Unable to contact" in status.reason
        if slurm.count("squeue") > before:
            times.append(second)
    assert times == [0, 10, 30, 70, 150, 250, 350]
    slurm.answers["squeue"] = "1|RUNNING|None|n1|t\n"
    slurm.now = 450.0
    assert queue.poll([job("t", "1")])["t"].state is JobState.RUNNING


def test_an_outage_of_two_thousand_questions_is_still_an_outage():
    slurm = Slurm(squeue=Answer(1, "", "Unable to contact slurm controller"))
    queue = slurm.queue(poll_seconds=10)
    for number in range(2000):
        slurm.now = 100.0 * number
        assert queue.poll([job("t", "1")])["t"].state is JobState.UNKNOWN
    assert slurm.count("squeue") == 2000


def test_the_token_decides_and_not_the_id_that_slurm_gave_twice():
    slurm = Slurm(squeue="5|RUNNING|None|n1|somebody-else\n6|PENDING|Priority||mine\n")
    status = slurm.queue().poll([job("mine", "5")])["mine"]
    assert (status.state, status.job_id, status.reason) == (JobState.QUEUED, "6", "Priority")


def test_a_missing_sacct_is_found_out_once():
    slurm = Slurm(squeue="")
    queue = slurm.queue()
    for _ in range(3):
        assert queue.poll([job("t", "1")])["t"].state is JobState.ABSENT
    assert slurm.count("sacct") == 1


def test_disabled_accounting_is_remembered_but_its_outage_is_not():
    slurm = Slurm(squeue="", sacct=Answer(1, "", "sacct: error: Slurm accounting storage is disabled"))
    queue = slurm.queue()
    assert queue.poll([job("t")])["t"].state is JobState.ABSENT
    assert queue.poll([job("t")])["t"].state is JobState.ABSENT
    assert slurm.count("sacct") == 1
    away = Slurm(squeue="", sacct=Answer(1, "", "sacct: error: Problem talking to the database: Connection refused"))
    queue = away.queue()
    assert queue.poll([job("t")])["t"].state is JobState.UNKNOWN
    away.answers["sacct"] = "7|TIMEOUT|0:0|n1|t\n"
    away.now = 30.0
    assert queue.poll([job("t")])["t"].reason == "TIMEOUT"


def test_a_sacct_that_answers_nothing_is_left_alone_for_longer_and_longer_while_squeue_is_asked_as_ever():
    slurm = Slurm(squeue="1|RUNNING|None|n1|a\n", sacct=Answer(124, "", "sacct did not answer within 60 s"))
    queue = slurm.queue(poll_seconds=10)
    for second in range(200):
        slurm.now = float(second)
        statuses = queue.poll([job("a", "1"), job("gone", "2")])
        assert statuses["a"].state is JobState.RUNNING
        assert statuses["gone"].state is JobState.UNKNOWN
        assert "sacct did not answer" in statuses["gone"].reason
    assert (slurm.count("sacct"), slurm.count("squeue")) == (5, 200)  # at 0, 10, 30, 70, 150


def test_accounting_is_asked_only_about_the_jobs_that_left_the_queue():
    slurm = Slurm(squeue="1|RUNNING|None|n1|a\n", sacct="2|COMPLETED|0:0|n1|b\n")
    statuses = slurm.queue(accounting="yes").poll([job("a", "1"), job("b", "2"), job("c")])
    assert (statuses["b"].state, statuses["c"].state) == (JobState.ENDED, JobState.ABSENT)
    (asked,) = (asked for asked in slurm.asked if asked[0] == "sacct")
    assert "--name=b,c" in asked


def test_a_job_that_accounting_still_calls_running_but_squeue_forgot_is_absent():
    slurm = Slurm(squeue="", sacct="2|RUNNING|0:0|n1|t\n")
    status = slurm.queue(accounting="yes").poll([job("t", "2")])["t"]
    assert status.state is JobState.ABSENT
    assert "RUNNING" in status.reason


def test_a_refused_submit_leaves_no_job_although_slurm_keeps_a_record():
    slurm = Slurm(squeue="1|FAILED|BadConstraints||t\n", sacct="1|FAILED|1:0|None assigned|t\n")
    assert slurm.queue(accounting="yes").poll([job("t")])["t"].state is JobState.ABSENT


@pytest.mark.parametrize("word", ["NODE_FAIL", "PREEMPTED"])
def test_an_end_from_which_jobs_come_back_must_stand_for_some_seconds(word):
    slurm = Slurm(squeue=f"1|{word}|None|n1|t\n", sacct="")
    queue = slurm.queue(accounting="no")
    seen = []
    for second in (0, 2, 4.9, 5):
        slurm.now = second
        seen.append(queue.poll([job("t", "1")])["t"].state)
    assert seen == [JobState.RUNNING] * 3 + [JobState.ENDED]
    slurm.answers["squeue"] = "1|PENDING|BeginTime||t\n"
    assert queue.poll([job("t", "1")])["t"].state is JobState.QUEUED
    slurm.answers["squeue"] = f"1|{word}|None|n1|t\n"
    assert queue.poll([job("t", "1")])["t"].state is JobState.RUNNING, "the wait begins anew"


def test_a_failed_job_waits_a_little_for_accounting_which_alone_knows_its_steps():
    slurm = Slurm(squeue="1|FAILED|NonZeroExitCode|n1|t\n", sacct="1|RUNNING|0:0|n1|t\n")
    queue = slurm.queue(accounting="yes")
    assert "to be confirmed" in queue.poll([job("t", "1")])["t"].reason
    slurm.answers["sacct"] = "1|FAILED|1:0|n1|t\n1.0|OUT_OF_MEMORY|0:125|n1|python\n"
    assert queue.poll([job("t", "1")])["t"].reason == "OUT_OF_MEMORY 1:0"
    behind = Slurm(squeue="1|FAILED|NonZeroExitCode|n1|t\n", sacct="")
    queue = behind.queue(accounting="yes")
    assert queue.poll([job("t", "1")])["t"].state is JobState.RUNNING
    behind.now = 5.0
    assert queue.poll([job("t", "1")])["t"].state is JobState.ENDED


def test_without_accounting_a_job_that_ended_badly_is_asked_about_once_however_long_it_is_looked_at():
    shown = "JobId=1 JobName=t UserId=u(1) JobState=NODE_FAIL Reason=None Dependency=(null) ExitCode=1:0 NodeList=n1\n"
    slurm = Slurm(squeue="1|NODE_FAIL|None|n1|t\n", scontrol=Answer(1, "", "Unable to contact slurm controller"))
    queue = slurm.queue(accounting="no")
    queue.poll([job("t", "1")])
    slurm.answers["scontrol"] = shown  # no answer is none: it is asked again
    for second in range(1, 8):
        slurm.now = float(second)
        status = queue.poll([job("t", "1")])["t"]
    assert (status.state, status.reason) == (JobState.ENDED, "NODE_FAIL 1:0")
    assert slurm.count("scontrol") == 2
    slurm.answers["squeue"] = "1|PENDING|BeginTime||t\n"
    queue.poll([job("t", "1")])
    slurm.answers["squeue"] = "1|FAILED|NonZeroExitCode|n2|t\n"
    queue.poll([job("t", "1")])
    assert slurm.count("scontrol") == 3, "it ran again, and ended in another way"


def test_a_command_that_hangs_or_is_missing_is_an_answer_and_no_exception():
    assert ask(("sleep", "5"), seconds=0.2).code == 124
    assert ask(("no-such-command-at-all",)).code == 127
    assert ask(("sh", "-c", "echo no >&2; exit 3")).words == "no"
