"""Jobs as ``srun`` steps inside the allocation that the controller runs in: for sites that refuse ``sbatch`` from inside a
job, and for people who hold one big allocation (``--in-allocation``).

A step's ``srun`` runs in a session of its own and outlives the controller; the next one knows it by the step's name. When
the allocation ends, so do its steps; what is not finished goes on in the next allocation from its checkpoint.
"""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Sequence

from hpc_trex.errors import UsageProblem
from hpc_trex.files import DISK_ERRORS, disk_problem
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import Profile
from hpc_trex.slurm import containers, processes, steps
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.environment import clean_environment, job_variables
from hpc_trex.slurm.scheduler import (
    CancelUnavailable,
    JobRef,
    JobRequest,
    JobState,
    JobStatus,
    SubmitRefused,
    SubmitUnavailable,
)

#: What every ``srun`` of ours carries, so that one walk over the processes finds them all.
MARK = "--comment=hpc-trex-step"
#: Seconds between two questions for the allocation's remaining time; in between the clock counts.
ASK_TIME_SECONDS = 30.0
#: So long before its end the allocation takes no further step.
LAST_SECONDS = 60.0

#: The ``srun`` processes that this process started: only a parent learns an exit code.
_CHILDREN: dict[str, subprocess.Popen[bytes]] = {}


class StepsScheduler:
    """Jobs as steps of one allocation. Implements :class:`hpc_trex.slurm.scheduler.Scheduler`.

    Outside an allocation it can say what became of earlier steps, but starts none.
    """

    name = "steps"

    def __init__(self, profile: Profile, *, ask: Ask = ask) -> None:
        self._profile = profile
        self._ask = ask
        self._allocation = os.environ.get("SLURM_JOB_ID", "")
        self._end: float | None = None
        self._asked = -math.inf
        self._warned = False
        self._running: set[str] = set()

    # ---- the protocol ---------------------------------------------------------------------------------------------

    def submit(self, request: JobRequest) -> str:
        """Start ``srun`` and return ``ALLOCATION.NAME``; the step waits there while the allocation is busy."""
        allocation = self._must_be_inside()
        left = self.seconds_left(at_most=1.0)
        if left is not None and left < self._profile.signal_seconds + LAST_SECONDS:
            raise SubmitUnavailable(
                f"allocation {allocation} ends in {left:.0f} s", hint="go on in the next one: hpc-trex resume"
            )
        paths = AttemptPaths(request.directory)
        environment = clean_environment() | job_variables(self._profile, request.resources)
        environment["HPC_TREX_STEP"] = "1"
        try:
            with (request.directory / "srun.log").open("ab") as log:
                child = subprocess.Popen(
                    self._arguments(request, allocation),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=request.directory,
                    env=environment,
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise SubmitRefused(
                "srun: command not found", hint="run this inside an allocation of the cluster"
            ) from error
        except OSError as error:
            if error.errno in DISK_ERRORS:
                raise disk_problem(error, paths.stdout) from error
            raise
        _CHILDREN[request.token] = child
        return steps.job_id(allocation, request.token)

    def poll(self, jobs: Sequence[JobRef]) -> dict[str, JobStatus]:
        """Return the status by token: one ``squeue -s`` for all, and one ``squeue`` for allocations that are not ours."""
        if not jobs:
            return {}
        answer = self._ask(steps.SQUEUE_STEPS)
        if not answer.ok:
            return {job.token: JobStatus(JobState.UNKNOWN, job.job_id, answer.words) for job in jobs}
        running = {row.name: row for row in steps.parse_steps(answer.out)}
        self._running |= running.keys() & {job.token for job in jobs}
        clients = processes.with_argument(MARK)
        statuses = {}
        others = [job for job in jobs if job.token not in running and self._is_elsewhere(job)]
        allocations = self._live_allocations() if others else frozenset[str]()
        for job in jobs:
            row = running.get(job.token)
            if row is not None:
                known = job.job_id or steps.job_id(row.allocation, job.token)
                statuses[job.token] = JobStatus(JobState.RUNNING, known, host=row.nodes)
            elif job in others:
                statuses[job.token] = steps.elsewhere(job, allocations)
            else:
                statuses[job.token] = self._without_step(job, f"--job-name={job.token}" in clients)
        return statuses

    def cancel(self, jobs: Sequence[JobRef]) -> None:
        """End steps, running or waiting. Raises :class:`CancelUnavailable`."""
        tokens = {job.token for job in jobs}
        if not tokens:
            return
        clients = processes.with_argument(MARK)
        waiting = [process for token in tokens for process in clients.get(f"--job-name={token}", [])]
        answer = self._ask(steps.SQUEUE_STEPS)
        if not answer.ok:
            raise CancelUnavailable(f"cannot cancel: squeue says: {answer.words}", hint="try again")
        for row in steps.parse_steps(answer.out):
            if row.name in tokens:
                ended = self._ask(("scancel", row.step))
                if not ended.ok and "Invalid" not in ended.err and "already" not in ended.err:
                    raise CancelUnavailable(f"cannot cancel: scancel says: {ended.words}", hint=f"scancel {row.step}")
        processes.end(waiting, grace=2.0)

    def slots(self) -> int:
        """Return the profile's ``parallel``, else how many trainings the allocation bears at once."""
        if self._profile.parallel:
            return self._profile.parallel
        answer = self._ask(("scontrol", "-o", "show", "job", self._must_be_inside()))
        return steps.slots(answer.out, self._profile.train) if answer.ok else 1

    def render(self, request: JobRequest) -> str:
        """Return the command line with the variables it sets."""
        import shlex

        variables = job_variables(self._profile, request.resources)
        words = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
        line = shlex.join(self._arguments(request, self._allocation or "$SLURM_JOB_ID"))
        return " ".join(["env", *words, line]) + "\n"

    # ---- the end of the allocation --------------------------------------------------------------------------------

    def seconds_left(self, *, at_most: float = ASK_TIME_SECONDS) -> float | None:
        """Return how long the allocation lasts still, 0 where it is being ended; None without a limit, or an answer.

        ``at_most``: how old, in seconds, Slurm's last answer may be.
        """
        now = time.monotonic()
        if self._allocation and now - self._asked > at_most:
            answer = self._ask(("squeue", "-h", "-j", self._allocation, "-o", "%T|%L"))
            self._asked = now
            if answer.ok:
                state, _, words = answer.out.strip().partition("|")
                left = steps.parse_duration(words) if state == "RUNNING" else 0.0
                self._end = None if left is None else now + left
        return None if self._end is None else self._end - now

    def ends_now(self) -> bool:
        """Tell whether the controller must leave because the allocation ends; warn the steps in time before.

        Each step that the last poll saw is sent the warning signal once, saves its checkpoint and ends.
        """
        left = self.seconds_left()
        if left is None or left > self._profile.signal_seconds + LAST_SECONDS / 2:
            return False
        rows = [row for row in steps.parse_steps(self._ask(steps.SQUEUE_STEPS).out) if row.name in self._running]
        if not self._warned:
            self._warned = True
            for row in rows:
                self._ask(("scancel", "--signal=USR2", row.step))
        return not rows or left < LAST_SECONDS / 4

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _must_be_inside(self) -> str:
        if not self._allocation:
            raise UsageProblem(
                "this search runs as steps of an allocation, and there is none here (SLURM_JOB_ID is not set)",
                hint="get one (salloc ...) and resume inside it; or submit jobs: hpc-trex resume SEARCH --profile NAME",
            )
        return self._allocation

    def _is_elsewhere(self, job: JobRef) -> bool:
        return job.job_id is not None and job.job_id.partition(".")[0] != self._allocation

    def _live_allocations(self) -> frozenset[str] | None:
        answer = self._ask(("squeue", "--me", "-h", "-t", "R,CG,S,CF,ST", "-o", "%A"))
        return frozenset(answer.out.split()) if answer.ok else None

    def _without_step(self, job: JobRef, waits: bool) -> JobStatus:
        """Judge a job of this allocation that is no running step: its ``srun`` waits, or is over, or was never started."""
        # First the process table, then the child: one that ends in between still leaves its exit code.
        child = _CHILDREN.get(job.token)
        code = child.poll() if child else None
        if waits and code is None:
            return JobStatus(JobState.QUEUED, job.job_id, "waits for room in the allocation")
        if job.job_id is None:
            return JobStatus(JobState.ABSENT)
        return JobStatus(JobState.ENDED, job.job_id, steps.ended_words(code))

    def _arguments(self, request: JobRequest, allocation: str) -> list[str]:
        resources, profile = request.resources, self._profile
        paths = AttemptPaths(request.directory)
        folders = (request.directory, *request.folders)
        words = [
            *containers.interpreter(profile, folders, workdir=request.directory, gpus=resources.gpus_per_node),
            *("-m", "hpc_trex.job", str(request.spec)),
        ]
        setup = containers.setup_lines(profile)
        if setup:
            words = ["bash", "-c", "\n".join([*setup, 'exec "$@"']), "hpc-trex-setup", *words]
        kind = f"{profile.gpu_type}:" if profile.gpu_type else ""
        # Without GPUs asked for, a step would be given all of the allocation's.
        gpus = f"gpu:{kind}{resources.gpus_per_node}" if resources.gpus_per_node else "none"
        memory = [f"--mem={math.ceil(resources.mem_gb * 1024)}M"] if profile.mem_request else []
        return [
            "srun",
            *(f"--jobid={allocation}", f"--job-name={request.token}", MARK),
            # --exact: exactly what is asked for, so that several steps share the allocation and none has another's GPU.
            *("--exact", f"--nodes={resources.nodes}", f"--ntasks={resources.nodes}", "--ntasks-per-node=1"),
            *(f"--cpus-per-task={resources.cpus_per_task}", f"--gres={gpus}", *memory),
            *("--output", str(paths.stdout), "--error", str(paths.stderr), "--open-mode=append"),
            *("--export=ALL", "--kill-on-bad-exit=1", "--wait=0", f"--chdir={request.directory}"),
            *containers.srun_options(profile, folders, workdir=request.directory),
            *words,
        ]
