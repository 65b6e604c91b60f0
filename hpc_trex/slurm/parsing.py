"""Read what ``squeue``, ``sacct`` and ``scontrol`` print. No command is run here.

The job name stands last in every format that we ask for: it is the user's text and may hold the separator. A line that
does not fit is passed over, so that a cut or odd one costs no more than itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from hpc_trex.slurm.scheduler import JobState, JobStatus

#: Job id, state, reason, nodes, name.
SQUEUE_FORMAT = "%i|%T|%r|%N|%j"
SACCT_FORMAT = "JobIDRaw,State,ExitCode,NodeList,JobName"

_JOB_ID = re.compile(r"\d+(_\d+)?(\+\d+)?")
_STEP_ID = re.compile(r"(?P<job>\d+(_\d+)?(\+\d+)?)(\.(?P<step>[\w+]+))?")
_EXIT_CODE = re.compile(r"\d+:\d+")
_STATE_WORD = re.compile(r"[A-Z_]+")

#: Slurm's states in which the job has not begun, runs, or is over. A word in none of them counts as running: a state
#: that a newer Slurm invents must never be a reason to act.
WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)
OVER = frozenset(
    {
        "COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL",
        "DEADLINE", "LAUNCH_FAILED", "RECONFIG_FAIL", "REVOKED",
    }
)  # fmt: skip
#: Slurm may put a job back into the queue a moment after it showed one of these.
MAY_COME_BACK = frozenset({"NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "LAUNCH_FAILED", "REVOKED"})
#: Reasons of a finished job that only repeat its state.
_SAYS_NOTHING = frozenset({"", "None", "NonZeroExitCode", "TimeLimit", "OutOfMemory", "NodeDown", "NodeFail"})


class Row(NamedTuple):
    """One job as one command printed it."""

    job_id: str
    state: str
    """Slurm's word without additions: ``CANCELLED``."""
    name: str
    detail: str = ""
    """The reason (squeue) or the words after the state, as in ``by 1000`` (sacct)."""
    nodes: str = ""
    exit_code: str = ""
    """``code:signal``, or empty where the command does not tell."""


def job_state(word: str) -> JobState:
    """Return our state for one of Slurm's words."""
    if word in OVER:
        return JobState.ENDED
    return JobState.QUEUED if word in WAITING else JobState.RUNNING


def parse_squeue(text: str) -> list[Row]:
    """Return the jobs of ``squeue -h -r -o SQUEUE_FORMAT``."""
    rows = []
    for line in text.splitlines():
        parts = line.split("|", 4)
        if len(parts) == 5 and _JOB_ID.fullmatch(parts[0]) and _STATE_WORD.fullmatch(parts[1]):
            job_id, state, reason, nodes, name = parts
            rows.append(Row(job_id, state, name, reason.strip(), _nodes(nodes)))
    return rows


def parse_sacct(text: str) -> list[Row]:
    """Return the jobs of ``sacct -n -P -o SACCT_FORMAT``, each with what its steps tell.

    Under ``srun`` a job that ran out of memory is itself ``FAILED``; only its step says ``OUT_OF_MEMORY``.
    """
    jobs: dict[str, Row] = {}
    out_of_memory = set()
    for line in text.splitlines():
        parts = line.split("|", 4)
        match = _STEP_ID.fullmatch(parts[0])
        words = parts[1].split(" ", 1) if len(parts) == 5 else [""]
        if match is None or not _STATE_WORD.fullmatch(words[0].rstrip("+")):
            continue
        state, detail = words[0].rstrip("+"), words[1] if len(words) > 1 else ""
        if match["step"] is None:
            exit_code = parts[2] if _EXIT_CODE.fullmatch(parts[2]) else ""
            jobs[match["job"]] = Row(parts[0], state, parts[4], detail, _nodes(parts[3]), exit_code)
        elif state == "OUT_OF_MEMORY":
            out_of_memory.add(match["job"])
    for job_id in out_of_memory & jobs.keys():
        if jobs[job_id].state in OVER - {"COMPLETED"}:
            jobs[job_id] = jobs[job_id]._replace(state="OUT_OF_MEMORY")
    return list(jobs.values())


def parse_scontrol(text: str) -> list[Row]:
    """Return the jobs of ``scontrol -o show job``, which knows exit codes where there is no accounting."""
    rows = []
    for line in text.splitlines():
        found = re.match(r"JobId=(?P<id>\S+) .*?JobName=(?P<name>.*?) UserId=", line)
        state = re.search(r" JobState=(?P<state>[A-Z_]+) Reason=(?P<reason>.*?) Dependency=", line)
        code = re.search(r" ExitCode=(?P<code>\d+:\d+)", line)
        nodes = re.search(r" NodeList=(?P<nodes>\S*)", line)
        if found and state and _JOB_ID.fullmatch(found["id"]):
            rows.append(
                Row(
                    found["id"],
                    state["state"],
                    found["name"],
                    state["reason"],
                    _nodes(nodes["nodes"] if nodes else ""),
                    code["code"] if code else "",
                )
            )
    return rows


def never_ran(row: Row) -> bool:
    """Tell whether Slurm refused this job: it keeps a record as if the job had failed, but on no node.

    Such a job is none to us: the next submit under its token is the first.
    """
    return row.state == "FAILED" and not row.nodes


def choose(rows: Iterable[Row], job_id: str | None) -> Row | None:
    """Return the row that stands for an attempt, out of those with its token.

    A live one before a finished one; then the recorded job id; then the newest. (Ids repeat after a crash of
    slurmctld, so that a token can have several.)
    """
    return max(
        rows,
        key=lambda row: (job_state(row.state) is not JobState.ENDED, row.job_id == job_id, _number(row.job_id)),
        default=None,
    )


def status_of(row: Row) -> JobStatus:
    """Return the status that a row means. The reason of a finished job begins with Slurm's final state."""
    state = job_state(row.state)
    if state is JobState.QUEUED:
        reason = row.detail if row.state == "PENDING" else row.state
    elif state is JobState.RUNNING:
        reason = "" if row.state == "RUNNING" else row.state
    else:
        reason = _final_words(row)
    return JobStatus(state, row.job_id, reason, row.nodes)


def _final_words(row: Row) -> str:
    words = [row.state]
    if row.exit_code and (row.state == "FAILED" or row.exit_code != "0:0"):
        words.append(row.exit_code)
    if row.detail.startswith("by "):
        words.append(row.detail)
    elif row.detail not in _SAYS_NOTHING:
        words.append(f"({row.detail})")
    return " ".join(words)


def _nodes(text: str) -> str:
    cleaned = text.strip()
    return "" if cleaned in {"(null)", "None assigned", "n/a"} else cleaned


def _number(job_id: str) -> int:
    return int(re.match(r"\d+", job_id)[0])  # type: ignore[index]
