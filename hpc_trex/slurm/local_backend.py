"""Local processes as the back end: for machines without Slurm.

Jobs are detached: they outlive the controller, and a new controller finds them again by their identity, or by the
spec's path in their command line when their id was never recorded. As Slurm does, the back end ends what a finished
job leaves running.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from hpc_trex.files import DISK_ERRORS, disk_problem
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import Profile
from hpc_trex.slurm import containers, machine, processes
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.environment import clean_environment, job_variables
from hpc_trex.slurm.processes import Process
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState, JobStatus, SubmitRefused, SubmitUnavailable

#: Jobs give way to the people who work on the machine.
NICE = 10
#: Seconds between TERM and KILL; a cancelled job needs one or two to write its result.
GRACE = 8.0
#: A job of another machine whose files have not changed for so long is not running there any more.
SILENT = 300.0

#: Tells of a job which Slurm job it was started in: an element of a sweep shares its GPUs with nobody.
ALLOCATION = "HPC_TREX_ALLOCATION"

#: What the interpreter is told; the last word is what a job's process is known by.
JOB_WORDS = ["-m", "hpc_trex.job"]

#: The jobs that this process started, by job id: only a parent learns an exit code, and must take zombies away.
_CHILDREN: dict[str, subprocess.Popen[bytes]] = {}


class LocalScheduler:
    """Jobs as processes of this machine. Implements :class:`hpc_trex.slurm.scheduler.Scheduler`.

    ``command`` stands before the spec's path; its last word must be enough to know a job's process by.
    """

    name = "local"

    def __init__(
        self, profile: Profile, *, command: Sequence[str] | None = None, grace: float = GRACE, ask: Ask = ask
    ) -> None:
        self._profile = profile
        self._command = list(command) if command else None
        self._grace = grace
        self._ask = ask

    def submit(self, request: JobRequest) -> str:
        """Start one job and return its id. Raises :class:`SubmitUnavailable` or :class:`SubmitRefused`."""
        containers.require_image(self._profile)
        paths = AttemptPaths(request.directory)
        environment = clean_environment() | job_variables(self._profile, request.resources) | self._gpus(request)
        try:
            with paths.stdout.open("ab") as out, paths.stderr.open("ab") as err:
                child = subprocess.Popen(
                    self._arguments(request),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd=request.directory,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise _start_problem(error, paths, self._words(request)[0]) from error
        with suppress(ProcessLookupError):  # it is over already
            os.setpriority(os.PRIO_PROCESS, child.pid, NICE)
        process = processes.read(child.pid) or Process(child.pid, os.getpid(), child.pid, 0)
        job_id = str(processes.job_id_of(process))
        _CHILDREN[job_id] = child
        return job_id

    def poll(self, jobs: Sequence[JobRef]) -> dict[str, JobStatus]:
        """Return the status by token. /proc is walked only when a job has no id, or has just ended."""
        statuses: dict[str, JobStatus] = {}
        nameless = [job for job in jobs if job.job_id is None]
        for job in jobs:
            if job.job_id is not None:
                statuses[job.token] = self._status(job, job.job_id)
        for job, process in self._find(nameless).items():
            if process is None:
                statuses[job.token] = JobStatus(JobState.ABSENT)
            else:
                found = str(processes.job_id_of(process))
                statuses[job.token] = JobStatus(JobState.RUNNING, found, host=processes.this_host())
        return statuses

    def cancel(self, jobs: Sequence[JobRef]) -> None:
        """End the jobs of this machine with all they started: TERM, and KILL after a grace of some seconds."""
        roots = []
        for job in jobs:
            identity = processes.parse_job_id(job.job_id or "")
            process = processes.read(identity.pid) if identity else None
            if identity and process and str(processes.job_id_of(process)) == job.job_id:
                roots.append(process)
        left = {word: found for word, found in self._running().items() if word in {_spec(job) for job in jobs}}
        roots += [process for found in left.values() for process in found if process not in roots]
        if roots:
            processes.end(roots, grace=self._grace)

    def slots(self) -> int:
        """Return the profile's ``parallel``, else what cores, memory and GPUs bear of its trainings."""
        return self._profile.parallel or machine.jobs_at_once(self._profile.train, ask=self._ask)

    def render(self, request: JobRequest) -> str:
        """Return the command line with the variables it sets."""
        variables = job_variables(self._profile, request.resources)
        words = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
        return " ".join(["env", *words, shlex.join(self._arguments(request))]) + "\n"

    # ---- starting -------------------------------------------------------------------------------------------------

    def _arguments(self, request: JobRequest) -> list[str]:
        words = [*self._words(request), str(request.spec)]
        setup = containers.setup_lines(self._profile)
        if not setup:
            return words
        # The job's words stay arguments of the shell, so that its process is known by them from the first instant.
        return ["bash", "-c", "\n".join([*setup, 'exec "$@"']), "hpc-trex-setup", *words]

    def _words(self, request: JobRequest) -> list[str]:
        """Return the command before the spec's path."""
        if self._command:
            return self._command
        gpus = request.resources.gpus_per_node
        folders = (request.directory, *request.folders)
        return [
            *containers.interpreter(self._profile, folders, workdir=request.directory, gpus=gpus),
            *JOB_WORDS,
        ]

    def _gpus(self, request: JobRequest) -> dict[str, str]:
        """Return CUDA_VISIBLE_DEVICES with GPUs that no job of this user has, whichever search started it."""
        wanted = request.resources.gpus
        if not wanted:
            return {"CUDA_VISIBLE_DEVICES": ""}
        present = machine.gpus(ask=self._ask)
        if wanted > len(present):
            raise SubmitRefused(
                f"job {request.token} wants {wanted} GPUs; this machine has {len(present)} for us",
                hint=f"correct train.gpus_per_node in profile {self._profile.name}",
            )
        running = {process.pid for found in self._running().values() for process in found}
        # Every allocation may count its GPUs from 0: only jobs of our own take ours.
        ours = [pid for pid in running if (processes.variable(pid, ALLOCATION) or "") == _allocation()]
        given = [processes.variable(pid, "CUDA_VISIBLE_DEVICES") or "" for pid in ours]
        taken = {index for text in given for index in text.split(",")}
        free = [index for index in present if index not in taken]
        if len(free) < wanted:
            raise SubmitUnavailable(
                f"job {request.token} wants {wanted} GPUs; {len(free)} of {len(present)} are free now",
                hint="launch with a smaller --parallel",
            )
        return {"CUDA_VISIBLE_DEVICES": ",".join(free[:wanted]), ALLOCATION: _allocation()}

    # ---- finding --------------------------------------------------------------------------------------------------

    def _running(self) -> dict[str, list[Process]]:
        """Return the processes of jobs, by every argument of theirs."""
        return processes.with_argument((self._command or JOB_WORDS)[-1])

    def _find(self, jobs: Iterable[JobRef]) -> dict[JobRef, Process | None]:
        """Find the main processes of jobs whose id was not recorded: of those with the spec's path, the oldest."""
        wanted = list(jobs)
        by_argument = self._running() if wanted else {}
        return {
            job: min(by_argument.get(_spec(job), []), key=lambda process: (process.start, process.pid), default=None)
            for job in wanted
        }

    def _status(self, job: JobRef, job_id: str) -> JobStatus:
        identity = processes.parse_job_id(job_id)
        if identity is None:
            return JobStatus(JobState.ABSENT, job_id, "not the id of a local job")
        host = identity.host
        if host != processes.this_host():
            return _elsewhere(job, job_id, host)
        if identity.boot != processes.this_boot():
            return JobStatus(JobState.ENDED, job_id, "NODE_FAIL (the machine was started anew)", host)
        # First the look, then the question: a child that ends in between still leaves its exit code.
        process = processes.read(identity.pid)
        child = _CHILDREN.get(job_id)
        code = child.poll() if child else None
        if code is None and process is not None and process.start == identity.start:
            return JobStatus(JobState.RUNNING, job_id, host=host)
        leftovers = self._running().get(_spec(job), [])
        if leftovers:
            processes.end(leftovers, grace=0.0)
        return JobStatus(JobState.ENDED, job_id, _words(code), host)


def _allocation() -> str:
    """Return the Slurm job that we run in; empty outside of one."""
    return os.environ.get("SLURM_JOB_ID", "")


def _spec(job: JobRef) -> str:
    return str(AttemptPaths(job.directory).spec)


def _words(code: int | None) -> str:
    """Return an exit code in Slurm's words; a process of another controller leaves none."""
    if code is None:
        return "ENDED (exit code unknown: an earlier controller started it)"
    if code == 0:
        return "COMPLETED"
    return f"FAILED 0:{-code}" if code < 0 else f"FAILED {code}:0"


def _elsewhere(job: JobRef, job_id: str, host: str) -> JobStatus:
    """Judge a job that another machine started, by the age of its files on the clock of their server."""
    paths = AttemptPaths(job.directory)
    try:
        with tempfile.NamedTemporaryFile(dir=job.directory, prefix=".now-") as probe:
            now = Path(probe.name).stat().st_mtime
    except OSError as error:
        return JobStatus(JobState.UNKNOWN, job_id, f"started on {host}; {error.strerror}", host)
    ages = [now - path.stat().st_mtime for path in (paths.heartbeat, paths.started, paths.spec) if path.exists()]
    if ages and min(ages) < SILENT:
        return JobStatus(JobState.RUNNING, job_id, f"on {host}: cancel it there", host)
    return JobStatus(JobState.ABSENT, job_id, f"silent on {host} for over {SILENT:.0f} s", host)


def _start_problem(error: OSError, paths: AttemptPaths, program: str) -> Exception:
    if error.errno in DISK_ERRORS:
        return disk_problem(error, paths.stdout)
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
        return SubmitRefused(
            f"cannot start {error.filename or program}: {error.strerror}",
            hint="correct python or runner in the profile",
        )
    return SubmitUnavailable(f"cannot start a process now: {error.strerror}", hint="ulimit -u; free -g")
