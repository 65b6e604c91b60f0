"""Ask Slurm about our jobs: one ``squeue`` for all, accounting only for those that are over or gone.

A command that fails makes the jobs ``UNKNOWN``, never ``ABSENT``, and the pause before the next question grows. squeue and
sacct are given up apart: where only the accounting is away, jobs that squeue still shows go on as ever.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Sequence
from typing import Literal

from hpc_trex.layout import AttemptPaths
from hpc_trex.slurm import parsing
from hpc_trex.slurm.commands import NOT_FOUND, Answer, Ask, ask
from hpc_trex.slurm.parsing import Row
from hpc_trex.slurm.scheduler import JobRef, JobState, JobStatus

#: Every job of ours, the finished ones too (for MinJobAge, 300 s by default), array tasks unfolded.
SQUEUE = ("squeue", "--me", "-h", "-r", "-t", "all", "-o", parsing.SQUEUE_FORMAT)

#: A state from which Slurm may put the job back is believed when it still stands after so many seconds; on the test
#: cluster such a job was shown as NODE_FAIL for up to 2.3 s before it was PENDING again.
CONFIRM_SECONDS = 5.0

#: A pause after failures doubles no further: the caps lie far below, and 2**1024 is more than a float holds.
MOST_DOUBLINGS = 10

#: Names on one command line; each is under 100 characters, a line may have 131,072.
CHUNK = 200

_DAY = datetime.timedelta(days=1)


class _BackOff:
    """How long one command is left alone after it failed; a sacct that hangs would else cost a minute each poll."""

    def __init__(self, first: float, clock: Callable[[], float]) -> None:
        self._first = first
        self._clock = clock
        self._failures = 0
        self._until = float("-inf")
        self.trouble = ""

    def may_ask(self) -> bool:
        return self._clock() >= self._until

    def note(self, answer: Answer) -> bool:
        """Take an answer into account and tell whether it is one."""
        if answer.ok:
            self._failures, self._until = 0, float("-inf")
            return True
        self._until = self._clock() + min(
            self._first * 2 ** min(self._failures, MOST_DOUBLINGS), self._first * 10, 300.0
        )
        self._failures += 1
        self.trouble = answer.words
        return False


class SlurmQueue:
    """The state of our jobs as Slurm sees them.

    ``poll_seconds`` is the first pause after a failed question; it doubles up to ten times itself, at most 300 s.
    """

    def __init__(
        self,
        *,
        accounting: Literal["auto", "yes", "no"] = "auto",
        poll_seconds: float = 30.0,
        ask: Ask = ask,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounting: bool | None = {"auto": None, "yes": True, "no": False}[accounting]
        self._ask = ask
        self._clock = clock
        self._squeue = _BackOff(poll_seconds, clock)
        self._accounts = _BackOff(poll_seconds, clock)
        self._suspects: dict[str, tuple[str, float]] = {}
        self._shown: dict[str, tuple[Row, Row]] = {}
        """What scontrol told of a job that is over, and the row of squeue for which it was asked."""

    def poll(self, jobs: Sequence[JobRef]) -> dict[str, JobStatus]:
        """Return the status by token of every job asked for."""
        if not jobs:
            return {}
        rows = self.rows()
        if rows is None:
            return {job.token: JobStatus(JobState.UNKNOWN, job.job_id, self._squeue.trouble) for job in jobs}
        by_token = self._choose(rows, jobs)
        details = self._details(jobs, by_token)
        self._shown = {token: self._shown[token] for token in self._shown.keys() & by_token.keys()}
        statuses = {}
        for job in jobs:
            status = self._status(job, by_token.get(job.token), details)
            statuses[job.token] = self._confirmed(job.token, status)
        return statuses

    def rows(self) -> list[Row] | None:
        """Return all jobs of this user; None when Slurm cannot be asked, or was not because it failed just now."""
        if not self._squeue.may_ask():
            return None
        answer = self._ask(SQUEUE)
        return parsing.parse_squeue(answer.out) if self._squeue.note(answer) else None

    @staticmethod
    def _choose(rows: Sequence[Row], jobs: Sequence[JobRef]) -> dict[str, Row]:
        wanted = {job.token: job.job_id for job in jobs}
        named: dict[str, list[Row]] = {}
        for row in rows:
            if row.name in wanted and not parsing.never_ran(row):
                named.setdefault(row.name, []).append(row)
        chosen = {token: parsing.choose(found, wanted[token]) for token, found in named.items()}
        return {token: row for token, row in chosen.items() if row is not None}

    # ---- what squeue does not tell --------------------------------------------------------------------------------

    def _details(self, jobs: Sequence[JobRef], by_token: dict[str, Row]) -> dict[str, Row] | None:
        """Return accounting's rows of the jobs that left squeue, or ended there badly; None when it fails now."""
        open_questions = [job for job in jobs if job.token not in by_token or _wants_detail(by_token[job.token])]
        if not open_questions:
            return {}
        if not self._accounts.may_ask():
            return None
        if not self._has_accounting():
            return {} if self._accounting is False else None
        return self._sacct(open_questions)

    def _has_accounting(self) -> bool:
        """Ask once whether this site keeps accounts; an outage is no answer and is asked again."""
        if self._accounting is None:
            answer = self._ask(("sacct", "-n", "-X", "-P", "-S", "now", "-o", "JobIDRaw"))
            if answer.code == NOT_FOUND or "accounting storage is disabled" in answer.err.lower():
                self._accounting = False
            elif self._accounts.note(answer):
                self._accounting = True
        return bool(self._accounting)

    def _sacct(self, jobs: Sequence[JobRef]) -> dict[str, Row] | None:
        since = min(_made(job) for job in jobs) - _DAY
        found: list[Row] = []
        for start in range(0, len(jobs), CHUNK):
            names = ",".join(job.token for job in jobs[start : start + CHUNK])
            answer = self._ask(
                ("sacct", "-n", "-P", "-S", f"{since:%Y-%m-%dT%H:%M:%S}", f"--name={names}", "-o", parsing.SACCT_FORMAT)
            )
            if not self._accounts.note(answer):
                return None
            found += parsing.parse_sacct(answer.out)
        return self._choose(found, jobs)

    def _scontrol(self, row: Row) -> Row | None:
        """Return the job as the controller still remembers it, with its exit code, where there is no accounting.

        Asked once: there is one question for each job, and a job that is over does not change.
        """
        asked, detail = self._shown.get(row.name, (None, None))
        if asked == row:
            return detail
        answer = self._ask(("scontrol", "-o", "show", "job", row.job_id))
        shown = [found for found in parsing.parse_scontrol(answer.out) if found.name == row.name] if answer.ok else []
        if not shown:
            return None
        self._shown[row.name] = (row, shown[0])
        return shown[0]

    # ---- putting the two together ---------------------------------------------------------------------------------

    def _status(self, job: JobRef, row: Row | None, details: dict[str, Row] | None) -> JobStatus:
        detail = (details or {}).get(job.token)
        if row is None:
            if details is None:
                return JobStatus(
                    JobState.UNKNOWN, job.job_id, f"not in squeue, and sacct fails: {self._accounts.trouble}"
                )
            if detail is None:
                return JobStatus(JobState.ABSENT, job.job_id)
            if parsing.job_state(detail.state) is not JobState.ENDED:
                # Accounting lags, or slurmctld lost the job in a crash: squeue is the one to believe.
                return JobStatus(JobState.ABSENT, detail.job_id, f"sacct says {detail.state}, squeue has no such job")
            return parsing.status_of(detail)
        if not _wants_detail(row):
            return parsing.status_of(row)
        if detail is None or parsing.job_state(detail.state) is not JobState.ENDED:
            if self._accounting and not self._stood(f"detail of {job.token}", row.state):
                # Accounting is some seconds behind, and only its steps tell a lack of memory under srun.
                return JobStatus(JobState.RUNNING, row.job_id, f"{row.state}, to be confirmed", row.nodes)
            detail = self._scontrol(row) or row
        return parsing.status_of(detail._replace(detail=detail.detail or row.detail, nodes=row.nodes or detail.nodes))

    def _confirmed(self, token: str, status: JobStatus) -> JobStatus:
        """Hold back an end from which Slurm may bring the job back, until it has stood for CONFIRM_SECONDS."""
        word = status.reason.split(" ", 1)[0]
        if status.state is not JobState.ENDED or word not in parsing.MAY_COME_BACK:
            self._suspects.pop(token, None)
            return status
        if self._stood(token, word):
            return status
        return status._replace(state=JobState.RUNNING, reason=f"{status.reason}, to be confirmed")

    def _stood(self, key: str, word: str) -> bool:
        """Tell whether ``key`` has been seen with this ``word``, and no other, for CONFIRM_SECONDS."""
        now = self._clock()
        if self._suspects.get(key, ("", now))[0] != word:
            self._suspects[key] = (word, now)
        return now - self._suspects[key][1] >= CONFIRM_SECONDS


def cluster_name(ask: Ask = ask) -> str:
    """Return the name of the cluster that Slurm's commands speak to here; empty where Slurm does not tell."""
    answer = ask(("scontrol", "show", "config"))
    match = re.search(r"^ClusterName\s*=\s*(\S+)", answer.out, re.MULTILINE) if answer.ok else None
    return match[1] if match else ""


def other_cluster(name: str, here: str) -> str:
    """Return why jobs of cluster ``name`` cannot be asked about; empty where they can: that is ``here``, or has no name."""
    if not name or name == here:
        return ""
    return f"submitted to cluster {name}; " + (f"this is {here}" if here else "which one this is, Slurm does not tell")


def _wants_detail(row: Row) -> bool:
    return parsing.job_state(row.state) is JobState.ENDED and row.state != "COMPLETED"


def _made(job: JobRef) -> datetime.datetime:
    """Return when the attempt was made, in local time, which is what sacct reads: its spec's age, else a month ago."""
    try:
        return datetime.datetime.fromtimestamp(AttemptPaths(job.directory).spec.stat().st_mtime)
    except OSError:
        return datetime.datetime.now() - 30 * _DAY
