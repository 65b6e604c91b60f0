"""What it means when a job is over and has left no ``result.json``, and what Slurm's pending reasons mean."""

from __future__ import annotations

import re

from hpc_trex.models import FailureClass
from hpc_trex.slurm.scheduler import JobState, JobStatus

#: What the log says → failure class and words for a person. The first that is found counts; only the tail is given.
_LOG_SIGNS: tuple[tuple[str, FailureClass, str], ...] = (
    (
        r"CUDA out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED",
        FailureClass.OOM,
        "the GPU's memory was not enough",
    ),
    (
        r"(?m)exceeded memory limit|oom[-_ ]kill|Out Of Memory|^MemoryError|Cannot allocate memory|std::bad_alloc",
        FailureClass.OOM,
        "the memory asked for was not enough",
    ),
    (r"DefaultCPUAllocator: can't allocate", FailureClass.OOM, "the memory asked for was not enough"),
    (r"DUE TO PREEMPTION", FailureClass.PREEMPTED, "another job took its place"),
    (r"DUE TO TIME LIMIT", FailureClass.TIMEOUT, "the time limit was reached"),
    (r"DUE TO NODE FAILURE|NODE_FAIL", FailureClass.NODE_FAIL, "the node failed"),
    # srun asks slurmctld for the step: one that is away just then, or has forgotten the job, ends it.
    (
        r"(?m)^srun: error: (.*Unable to contact slurm controller|Unable to confirm allocation for job)",
        FailureClass.LOST,
        "Slurm did not answer when the job began",
    ),
    (
        r"(?m)^ModuleNotFoundError|^ImportError|cannot open shared object file|error while loading shared libraries",
        FailureClass.ENVIRONMENT,
        "Python on the node lacks a package or library; check setup, python and runner of the profile",
    ),
    (
        r"No space left on device|Disk quota exceeded|Read-only file system",
        FailureClass.ENVIRONMENT,
        "the disk is full, over quota or read-only; make room, then: hpc-trex resume",
    ),
    (
        r"command not found|execve\(\).*No such file|No such file or directory: '?(python|/\S*python)",
        FailureClass.ENVIRONMENT,
        "a command is missing on the node; check setup, modules, python and runner of the profile",
    ),
    # What our own lines in the script say (slurm/containers.py).
    (r"(?m)^hpc-trex: ", FailureClass.ENVIRONMENT, "the node could not set up what the profile wants"),
)

#: Slurm's final states that say enough by themselves.
_STATES = {
    "TIMEOUT": (FailureClass.TIMEOUT, "the time limit was reached before the job could save its result"),
    "DEADLINE": (FailureClass.TIMEOUT, "the job's deadline passed"),
    "PREEMPTED": (FailureClass.PREEMPTED, "another job took its place"),
    "NODE_FAIL": (FailureClass.NODE_FAIL, "the node failed"),
    "BOOT_FAIL": (FailureClass.NODE_FAIL, "the node did not boot"),
    "LAUNCH_FAILED": (FailureClass.NODE_FAIL, "the node could not start the job"),
    "RECONFIG_FAIL": (FailureClass.NODE_FAIL, "the node could not be reconfigured"),
    "REVOKED": (FailureClass.CANCELLED, "another cluster of the federation took the job"),
    "OUT_OF_MEMORY": (FailureClass.OOM, "the memory asked for was not enough"),
}

#: Slurm's own words in a log: they tell a cancelled job from one that Slurm ended for another reason.
_SLURM_SAYS = re.compile(r"exceeded memory limit|DUE TO (PREEMPTION|TIME LIMIT|NODE FAILURE)|oom[-_ ]kill")

_EXIT = re.compile(r"(?P<code>\d+):(?P<signal>\d+)")


#: A cancel by a person's own number; root's is that of Slurm's daemons too, and without accounting there is none.
_BY_A_PERSON = re.compile(r"by [1-9]\d*")


def classify(
    status: JobStatus, log_tail: str = "", exit_code: int | None = None, *, begun: bool = True
) -> tuple[FailureClass, str]:
    """Return why a job without a result is over, with one sentence for a person.

    ``log_tail`` is the end of its output; ``exit_code`` is used where ``status.reason`` holds none; ``begun`` as in
    :func:`taken_back`.
    """
    if status.state is JobState.ABSENT:
        return FailureClass.LOST, _sentence("the scheduler no longer knows the job, and it left no result", status)
    word = status.reason.split(" ", 1)[0]
    if word in _STATES:
        failure, text = _STATES[word]
        return failure, _sentence(text, status)
    if taken_back(status, begun=begun):
        return FailureClass.LOST, _sentence("it was taken back before the node had begun with it", status)
    if word == "CANCELLED" and not _SLURM_SAYS.search(log_tail):
        return FailureClass.CANCELLED, _sentence("it was cancelled", status)
    code, signal = _exit_of(status.reason, exit_code)
    for pattern, failure, text in _LOG_SIGNS:
        found = re.search(pattern, log_tail)
        if found is not None:
            return failure, _sentence(f"{text} (the log says: {_line_of(log_tail, found.start())})", status)
    return _by_exit(code, signal, status)


def taken_back(status: JobStatus, *, begun: bool) -> bool:
    """Tell whether Slurm, and no person, cancelled a job with whose last start the node had not begun.

    After a crash slurmctld gives numbers again that jobs still have which it forgot, or starts a job again whose start it
    forgot. The node refuses the second job of a number, and cancels it where it may not be requeued. ``begun``: the output
    files are there, which the node makes before it runs the script, and Slurm has not put the job back since.
    """
    cancelled = status.reason.split(" ", 1)[0] == "CANCELLED"
    return cancelled and bool(status.host) and not begun and not _BY_A_PERSON.search(status.reason)


def _by_exit(code: int | None, signal: int | None, status: JobStatus) -> tuple[FailureClass, str]:
    # A batch script that is killed (9) has JobLaunchFailure for a reason too, though it was launched.
    if signal == 53 or ("JobLaunchFailure" in status.reason and signal != 9):
        text = "Slurm could not open the job's output files; is the search's folder visible on the compute nodes?"
        return FailureClass.ENVIRONMENT, _sentence(text, status)
    if code in {126, 127}:
        text = "a command is missing on the node; check setup, python and runner of the profile"
        return FailureClass.ENVIRONMENT, _sentence(text, status)
    if signal == 9 or code in {9, 137}:  # srun passes SIGKILL on as 137, of which sacct shows 9:0
        return FailureClass.LOST, _sentence("it was killed from outside and left no result", status)
    if code == 0:
        return FailureClass.LOST, _sentence("it ended as if all were well, but left no result", status)
    return FailureClass.ENVIRONMENT, _sentence("it ended without a result; its log tells more", status)


def _exit_of(reason: str, exit_code: int | None) -> tuple[int | None, int | None]:
    match = _EXIT.search(reason)
    if match:
        return int(match["code"]), int(match["signal"])
    if exit_code is None:
        return (0, 0) if reason.startswith("COMPLETED") else (None, None)
    return (0, -exit_code) if exit_code < 0 else (exit_code, 0)


def _line_of(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    return text[start : end if end >= 0 else len(text)].strip()[:200]


def _sentence(text: str, status: JobStatus) -> str:
    place = f" on {status.host}" if status.host else ""
    said = f" [{status.reason}]" if status.reason else ""
    return f"job {status.job_id or 'without id'}{place}: {text}{said}"


#: Beginning of a pending reason → what it means, most special first.
_PENDING: tuple[tuple[str, str], ...] = (
    ("Priority", "other jobs are before it in the queue"),
    ("Resources", "next in line: waits for nodes, GPUs or memory to become free"),
    ("Dependency", "waits for another job; it never starts if that one failed"),
    ("BeginTime", "held back until its begin time, e.g. two minutes after a requeue"),
    ("JobHeldUser", "held by you: scontrol release JOBID"),
    ("JobHeldAdmin", "held by the administrators: ask them"),
    ("JobHoldMaxRequeue", "put back into the queue too often: scontrol release JOBID"),
    ("job requeued in held state", "put back into the queue and held by an administrator: scontrol release JOBID, or ask them"),
    ("launch failed requeued held", "the node could not start it: scontrol release JOBID"),
    ("ReqNodeNotAvail", "its nodes are down, drained or reserved (often a maintenance ahead: ask for less time)"),
    ("Nodes required for job are DOWN", "its nodes are down, drained or reserved for jobs of a higher partition"),
    ("Reservation", "waits for its reservation to begin"),
    ("PartitionNodeLimit", "asks for more nodes than the partition allows: it never starts; cancel and correct train.nodes"),
    ("PartitionTimeLimit", "asks for more time than the partition allows: it never starts; cancel and correct minutes"),
    ("PartitionDown", "the partition is down"),
    ("PartitionInactive", "the partition takes jobs but starts none"),
    ("BadConstraints", "no node can satisfy the request: it never starts; cancel and correct the profile"),
    ("InvalidAccount", "the account is not valid any more: it never starts; correct account in the profile"),
    ("InvalidQOS", "the qos is not valid any more: it never starts; correct qos in the profile"),
    ("Licenses", "waits for a licence"),
    ("Cleaning", "being put back into the queue"),
    ("NodeDown", "its node went down"),
    ("Prolog", "the node is being prepared"),
    ("AssocGrpGRESRunMinutes", "the account's GPU minutes are all promised to running jobs; ask for less time or wait"),
    ("AssocGrpGRESMinutes", "the account's GPU-hours are used up: use another account, or ask for more hours"),
    ("AssocGrpGRES", "the account's GPUs are all in use"),
    ("AssocGrpCPUMinutes", "the account's CPU-hours are used up: use another account, or ask for more hours"),
    ("AssocGrpBillingMinutes", "the account's hours are used up: use another account, or ask for more hours"),
    ("AssocGrp", "the account's limit is used up for now"),
    ("AssocMax", "your limit within the account is used up for now"),
    ("QOSGrp", "the qos' limit is used up for now, by all its users together"),
    ("QOSMax", "your limit in this qos is used up for now, or one job asks for more than it allows"),
    ("MaxMemPerLimit", "asks for more memory than the qos or partition allows"),
    ("None", "not looked at yet"),
)  # fmt: skip


def pending_hint(reason: str) -> str:
    """Return in plain words why Slurm lets a job wait; empty where the reason is not known to us."""
    cleaned = reason.strip().strip("()")
    return next((text for start, text in _PENDING if cleaned.lower().startswith(start.lower())), "")
