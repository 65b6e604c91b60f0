"""What an ended job without a result means, in the words of Slurm and of logs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.models import FailureClass as F
from hpc_trex.models import Profile
from hpc_trex.slurm.failures import classify, pending_hint
from hpc_trex.slurm.refusals import refusal
from hpc_trex.slurm.scheduler import JobState, JobStatus, SubmitRefused, SubmitUnavailable


@pytest.mark.parametrize(
    ("reason", "log", "failure"),
    [
        ("TIMEOUT", "", F.TIMEOUT),
        ("DEADLINE", "", F.TIMEOUT),
        ("PREEMPTED", "", F.PREEMPTED),
        ("NODE_FAIL", "CUDA out of memory", F.NODE_FAIL),
        ("BOOT_FAIL", "", F.NODE_FAIL),
        ("OUT_OF_MEMORY 0:125", "", F.OOM),
        ("FAILED 0:9", "slurmstepd: error: StepId=7.0 exceeded memory limit (2100000 > 2048000), being killed", F.OOM),
        ("FAILED 1:0", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", F.OOM),
        ("FAILED 1:0", "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", F.OOM),
        ("FAILED 1:0", "Traceback ...\nMemoryError\n", F.OOM),
        ("CANCELLED by 0", "", F.CANCELLED),
        ("CANCELLED by 1000", "slurmstepd: error: *** STEP 5.0 ON n1 CANCELLED AT 2026-11-22 ***", F.CANCELLED),
        ("CANCELLED by 0", "ImportError: a warning of long ago", F.CANCELLED),
        ("CANCELLED by 0", "slurmstepd: error: *** JOB 5 CANCELLED AT 2026 DUE TO PREEMPTION ***", F.PREEMPTED),
        ("FAILED 0:53 (JobLaunchFailure)", "", F.ENVIRONMENT),
        ("FAILED 127:0", "", F.ENVIRONMENT),
        ("FAILED 1:0", "job.sh: line 5: module: command not found", F.ENVIRONMENT),
        ("FAILED 1:0", "Traceback ...\nModuleNotFoundError: No module named 'torch'", F.ENVIRONMENT),
        ("FAILED 1:0", "OSError: [Errno 122] Disk quota exceeded: 'x'", F.ENVIRONMENT),
        ("FAILED 1:0", "", F.ENVIRONMENT),
        (
            "FAILED 1:0",
            "srun: error: Unable to confirm allocation for job 1: Unable to contact slurm controller (connect failure)\n",
            F.LOST,
        ),
        ("FAILED 9:0", "", F.LOST),
        ("FAILED 0:9", "", F.LOST),
        ("FAILED 0:9 (JobLaunchFailure)", "", F.LOST),  # the batch script was killed
        ("COMPLETED", "", F.LOST),
        ("ENDED (exit code unknown: an earlier controller started it)", "", F.ENVIRONMENT),
    ],
)
def test_an_ended_job_without_a_result_has_its_class(reason, log, failure):
    found, message = classify(JobStatus(JobState.ENDED, "5", reason, "n1"), log)
    assert found is failure
    assert reason in message
    assert "on n1" in message


@pytest.mark.parametrize(
    ("reason", "host", "begun", "failure"),
    [
        ("CANCELLED by 0", "n1", False, F.LOST),
        ("CANCELLED 0:15", "n1", False, F.LOST),  # squeue and scontrol do not say by whom
        ("CANCELLED by 1000", "n1", False, F.CANCELLED),
        ("CANCELLED by 0", "n1", True, F.CANCELLED),
        ("CANCELLED by 0", "", False, F.CANCELLED),  # it was still waiting
    ],
)
def test_a_job_that_slurm_itself_took_back_before_the_node_began_is_lost_and_not_cancelled(
    reason, host, begun, failure
):
    """Seen when slurmctld, killed, had forgotten a job that still ran, and gave its number to the next one."""
    assert classify(JobStatus(JobState.ENDED, "5", reason, host), begun=begun)[0] is failure


def test_the_line_of_the_log_that_decided_is_quoted():
    log = "step 1\ntorch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB\nbye\n"
    assert "Tried 2 GiB" in classify(JobStatus(JobState.ENDED, "5", "FAILED 1:0"), log)[1]


def test_a_job_that_nobody_knows_is_lost():
    assert classify(JobStatus(JobState.ABSENT, "5"))[0] is F.LOST


def test_an_exit_code_from_elsewhere_counts_where_slurm_told_none():
    assert classify(JobStatus(JobState.ENDED, "5", "ENDED"), "", 127)[0] is F.ENVIRONMENT
    assert classify(JobStatus(JobState.ENDED, "5", "ENDED"), "", -9)[0] is F.LOST


@given(st.text(max_size=80), st.text(max_size=300))
def test_every_end_has_a_class_and_words(reason, log):
    failure, message = classify(JobStatus(JobState.ENDED, None, reason), log)
    assert isinstance(failure, F)
    assert message


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("Resources", "next in line"),
        ("(Priority)", "before it"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-4]", "maintenance"),
        ("QOSMaxGRESPerUser", "your limit"),
        ("job requeued in held state", "scontrol release"),
        ("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions", "drained"),
        ("AssocGrpGRESRunMinutes", "GPU minutes"),
        ("PartitionTimeLimit", "never starts"),
    ],
)
def test_a_pending_reason_has_plain_words(reason, word):
    assert word in pending_hint(reason)


def test_a_reason_we_do_not_know_gets_no_invented_words():
    assert pending_hint("SomethingNew") == ""


@pytest.mark.parametrize(
    ("words", "code", "advice"),
    [
        (("sbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed: Invalid "
         "partition name specified"), 1, "partition"),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified", 1,
         "account"),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", 1, "qos"),
        ("sbatch: error: Batch job submission failed: Invalid generic resource (gres) specification", 1, "gpu"),
        ("sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
         1, "minutes"),
        (("sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job submission failed: "
         "Requested node configuration is not available"), 1, "mem_gb"),
        (("sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: Job violates "
         "accounting/QOS policy (job submit limit, user's size and/or time limits)"), 1, "minutes"),
        ("sbatch: unrecognized option '--no-such'\nTry \"sbatch --help\" for more information", 255, "extra"),
        ("timeout: failed to run command 'sbatch': No such file or directory", 127, "login node"),
    ],
)  # fmt: skip
def test_a_refusal_for_good_carries_slurms_words_and_the_key(words, code, advice):
    error = refusal(words, code, Profile(name="site"), "token")
    assert isinstance(error, SubmitRefused)
    assert advice in error.hint
    assert error.exit_code == 5


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", 1),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", 1),
        (("sbatch: error: fetch_config: DNS SRV lookup failed\nsbatch: error: _establish_config_source: failed to fetch "
         "config\nsbatch: fatal: Could not establish a configuration source"), 1),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", 1),
        (("sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates "
         "accounting/QOS policy (job submit limit, user's size and/or time limits)"), 1),
        (("sbatch: error: AssocGrpSubmitJobsLimit\nsbatch: error: Batch job submission failed: Job violates "
         "accounting/QOS policy (job submit limit, user's size and/or time limits)"), 1),
        ("sbatch: error: Munge encode failed: Failed to access \"/run/munge/munge.socket.2\"", 1),
        ("", 124),
        ("", 137),
        ("killed", -15),
    ],
)  # fmt: skip
def test_an_outage_or_a_queue_limit_is_only_for_now(words, code):
    assert isinstance(refusal(words, code, Profile(name="site"), "token"), SubmitUnavailable)
