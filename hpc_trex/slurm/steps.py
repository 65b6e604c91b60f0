"""Steps of an allocation: what Slurm prints of them, and what it means. No command is run here."""

from __future__ import annotations

import re
from typing import NamedTuple

from hpc_trex.models import Resources
from hpc_trex.slurm.scheduler import JobRef, JobState, JobStatus

#: All running steps of this user: step id, nodes, and last the name, which is the user's text.
SQUEUE_STEPS = ("squeue", "-s", "--me", "-h", "-o", "%i|%N|%j")

_STEP = re.compile(r"(?P<allocation>\d+)(_\d+)?\.\d+")
_DURATION = re.compile(r"(?:(?P<days>\d+)-)?(?:(?P<first>\d+):)?(?P<second>\d+):(?P<third>\d+)")


class StepRow(NamedTuple):
    """One running step."""

    step: str
    """``123.4``, as ``scancel`` takes it."""
    allocation: str
    nodes: str
    name: str


def job_id(allocation: str, token: str) -> str:
    """Return what stands for a step's job id: its number is not known before it runs, its name is."""
    return f"{allocation}.{token.split('-', 2)[-1]}"  # trex-1a2b3c4d-n1-t2-a1: the search's part is said elsewhere


def parse_steps(text: str) -> list[StepRow]:
    """Return the numbered steps of :data:`SQUEUE_STEPS`; ``123.batch`` and lines that do not fit are passed over."""
    rows = []
    for line in text.splitlines():
        parts = line.strip().split("|", 2)
        match = _STEP.fullmatch(parts[0]) if len(parts) == 3 else None
        if match:
            rows.append(StepRow(parts[0], match["allocation"], parts[1], parts[2]))
    return rows


def parse_duration(text: str) -> float | None:
    """Return seconds for Slurm's ``[days-][hours:]minutes:seconds``; None for UNLIMITED and the like."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    days, hours = int(match["days"] or 0), int(match["first"] or 0)
    return float(((days * 24 + hours) * 60 + int(match["second"])) * 60 + int(match["third"]))


def elsewhere(job: JobRef, allocations: frozenset[str] | None) -> JobStatus:
    """Judge a job of another allocation that is no running step. ``allocations``: those that live; None: not known."""
    allocation = (job.job_id or "").partition(".")[0]
    if allocations is None:
        return JobStatus(JobState.UNKNOWN, job.job_id, "squeue does not answer")
    if allocation in allocations:
        return JobStatus(JobState.QUEUED, job.job_id, f"in allocation {allocation}, which still runs")
    return JobStatus(JobState.ENDED, job.job_id, f"PREEMPTED (allocation {allocation} ended)")


def ended_words(code: int | None) -> str:
    """Return an exit code of ``srun`` in Slurm's words; a step of another controller leaves none."""
    if code is None:
        return "ENDED (exit code unknown: an earlier controller started it)"
    if code == 0:
        return "COMPLETED"
    return f"FAILED 0:{-code}" if code < 0 else f"FAILED {code}:0"


def slots(shown: str, train: Resources) -> int:
    """Return how many trainings an allocation bears at once, at least 1, from ``scontrol -o show job``.

    The least of what its nodes, CPUs, GPUs and memory allow. What Slurm does not tell bounds nothing.
    """
    bounds = []
    nodes = _count(r"\bNumNodes=(\d+)", shown)
    if nodes and train.nodes > 1:
        bounds.append(nodes // train.nodes)
    cpus = _count(r"\bNumCPUs=(\d+)", shown)
    if cpus:
        bounds.append(cpus // (train.cpus_per_task * train.nodes))
    gpus = _count(r"gres/gpu=(\d+)", shown) or _count(r"gres/gpu:[^=,\s]+=(\d+)", shown)
    if train.gpus:
        bounds.append(gpus // train.gpus)
    memory = re.search(r"\bTRES=\S*?mem=(\d+(?:\.\d+)?)([MGT]?)", shown)
    if memory:
        gigabytes = float(memory[1]) * {"": 1 / 1024, "M": 1 / 1024, "G": 1, "T": 1024}[memory[2]]
        bounds.append(int(gigabytes // (train.mem_gb * train.nodes)))
    return max(1, min(bounds, default=1))


def _count(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match[1]) if match else 0
