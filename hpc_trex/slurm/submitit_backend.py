"""Slurm as the back end: submitit writes the batch script and submits it; nothing else is taken from submitit.

The job calls one fixed function with the path of its spec. Results and progress are files of ours, states come from
:mod:`hpc_trex.slurm.queue`.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpc_trex.errors import UsageProblem
from hpc_trex.files import DISK_ERRORS, disk_problem
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import Profile, Resources
from hpc_trex.slurm import containers, parsing, processes
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.environment import dropped_names, job_variables
from hpc_trex.slurm.jobside import run_and_exit
from hpc_trex.slurm.queue import CHUNK, SlurmQueue, cluster_name, other_cluster
from hpc_trex.slurm.refusals import refusal
from hpc_trex.slurm.scheduler import CancelUnavailable, JobRef, JobRequest, JobState, JobStatus, SubmitUnavailable

if TYPE_CHECKING:
    from hpc_trex.slurm.executor import TrexExecutor

#: sbatch gives up by itself after about 10 s without a controller; more means that it hangs.
SUBMIT_SECONDS = 90
#: Jobs at once where the profile does not say.
DEFAULT_PARALLEL = 4
#: Options that the back end itself depends on: a profile must not set them.
RESERVED = frozenset({"job-name", "output", "error", "array", "wrap", "requeue", "parsable", "open-mode"})

Entry = Callable[[str], Any]


def under_way(directory: Path) -> bool:
    """Tell whether an ``sbatch`` of the attempt in this folder still runs on this machine."""
    found = processes.with_argument(str(directory.absolute()))
    return any("sbatch" in processes.arguments(process.pid) for several in found.values() for process in several)


class SlurmScheduler:
    """Jobs as Slurm jobs, one task a node. Implements :class:`hpc_trex.slurm.scheduler.Scheduler`.

    ``entry`` is what the job calls with the path of its spec; it must be importable there. The default
    runs ``hpc_trex.job.entry.run`` and keeps its exit code.
    """

    name = "slurm"

    def __init__(self, profile: Profile, *, entry: Entry = run_and_exit, ask: Ask = ask) -> None:
        reserved = sorted(RESERVED & {key.replace("_", "-") for key in profile.extra})
        if reserved:
            raise UsageProblem(
                f"profile {profile.name}: extra.{reserved[0]} is set by hpc-trex itself",
                hint=f"remove {reserved[0]} from extra",
            )
        self._profile = profile
        self._entry = entry
        self._ask = ask
        self._cluster = ""
        self._queue = SlurmQueue(accounting=profile.accounting, poll_seconds=profile.poll_seconds, ask=ask)

    def submit(self, request: JobRequest) -> str:
        """Submit one job and return its id.

        Raises :class:`SubmitUnavailable` or :class:`SubmitRefused`; ``EnvironmentProblem`` when the disk is full.
        """
        from hpc_trex.slurm.executor import SbatchFailed  # submitit: 0.2 s

        containers.require_image(self._profile)
        executor = self._executor(request)
        try:
            cluster = self.cluster
            if cluster:  # not worth a flush: a cut one is as none, and the job id has its own record
                AttemptPaths(request.directory).cluster.write_text(cluster + "\n", encoding="utf-8")
            return executor.submit_one(self._entry, str(request.spec))
        except SbatchFailed as error:
            if error.code == 0:
                raise SubmitUnavailable(f"job {request.token}: {error.words}", hint="squeue --me") from error
            raise refusal(error.words, error.code, self._profile, request.token) from error
        except OSError as error:
            if error.errno in DISK_ERRORS:
                raise disk_problem(error, request.directory) from error
            raise

    def poll(self, jobs: Sequence[JobRef]) -> dict[str, JobStatus]:
        """Return the status by token, with one ``squeue`` for all (and ``sacct`` for those that left it).

        A submit may outlive the controller that began it, and wait for slurmctld: its job is not absent yet. Nor is one
        that was submitted to another cluster on the same file system: this one cannot be asked about it.
        """
        statuses = self._queue.poll(jobs)
        for job in jobs:
            if statuses[job.token].state is not JobState.ABSENT:
                continue
            elsewhere = self.elsewhere(job)
            if elsewhere:
                statuses[job.token] = JobStatus(JobState.UNKNOWN, job.job_id, elsewhere)
            elif job.job_id is None and under_way(job.directory):
                statuses[job.token] = JobStatus(JobState.UNKNOWN, None, "its sbatch still waits for an answer")
        return statuses

    @property
    def cluster(self) -> str:
        """The name of this cluster; empty while Slurm does not tell, which is asked again."""
        self._cluster = self._cluster or cluster_name(self._ask)
        return self._cluster

    def elsewhere(self, job: JobRef) -> str:
        """Return why a job of another cluster is not known here; empty for one of this cluster, or of no name."""
        try:
            name = AttemptPaths(job.directory).cluster.read_text(encoding="utf-8").strip()
        except OSError:  # of an earlier version of this program, or not submitted yet
            return ""
        return other_cluster(name, self.cluster) if name else ""

    def cancel(self, jobs: Sequence[JobRef]) -> None:
        """Cancel the jobs that carry these tokens. Raises :class:`CancelUnavailable`."""
        tokens = {job.token for job in jobs}
        if not tokens:
            return
        others = sorted({words for job in jobs if (words := self.elsewhere(job))})
        queue = self._ask(("squeue", "--me", "-h", "-r", "-o", parsing.SQUEUE_FORMAT))
        if not queue.ok:
            raise CancelUnavailable(
                f"cannot cancel: squeue says: {queue.words}", hint="try again, or: scancel --name=TOKEN"
            )
        live = [
            row.job_id
            for row in parsing.parse_squeue(queue.out)
            if row.name in tokens and parsing.job_state(row.state) is not JobState.ENDED
        ]
        for start in range(0, len(live), CHUNK):
            answer = self._ask(("scancel", *live[start : start + CHUNK]))
            # A job that ended meanwhile is what was wanted.
            if not answer.ok and "already" not in answer.err and "Invalid job id" not in answer.err:
                raise CancelUnavailable(
                    f"cannot cancel: scancel says: {answer.words}", hint="scancel " + " ".join(live)
                )
        if others:
            raise CancelUnavailable(
                f"some jobs are not known here: {'; '.join(others)}",
                hint="the same command on a login node of that cluster",
            )

    def slots(self) -> int:
        """Return the profile's ``parallel``, else 4: what else a site bears is not known."""
        return self._profile.parallel or DEFAULT_PARALLEL

    def render(self, request: JobRequest) -> str:
        """Return the batch script; nothing is written and Slurm is not needed."""
        return self._executor(request).text()

    def _executor(self, request: JobRequest) -> TrexExecutor:
        from hpc_trex.slurm.executor import TrexExecutor

        for sign, name in (("%", "a percent sign"), ("\\", "a backslash"), ("\n", "a line break")):
            if sign in str(request.directory):
                raise UsageProblem(
                    f"{request.directory} has {name} in it, which Slurm would expand in the names of output files",
                    hint="choose another folder (HPC_TREX_HOME)",
                )
        paths = AttemptPaths(request.directory.absolute())
        unset = [part for name in dropped_names() for part in ("-u", name)]
        executor = TrexExecutor(
            paths.root / "submitit",
            python=shlex.join(
                containers.interpreter(
                    self._profile, _folders(request), workdir=paths.root, gpus=request.resources.gpus_per_node
                )
            ),
            prefix=["env", *unset, "timeout", "-k", "5", str(SUBMIT_SECONDS)],
            script=paths.script,
        )
        executor.update_parameters(**parameters(self._profile, request, paths, executor.link_lines(executor.folder)))
        return executor


def parameters(profile: Profile, request: JobRequest, paths: AttemptPaths, link: str) -> dict[str, Any]:
    """Return submitit's parameters of a job. ``link`` is the shell line that prepares submitit's folder in the job."""
    resources = request.resources
    exports = [f"export {key}={shlex.quote(value)}" for key, value in job_variables(profile, resources).items()]
    extra = {key.replace("_", "-"): value for key, value in profile.extra.items() if value is not False}
    given: dict[str, Any] = {
        "job_name": request.token,
        "comment": request.token,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "nodes": resources.nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": resources.cpus_per_task if asks_cpus(profile, resources) else None,
        "time": resources.minutes,
        "signal_delay_s": profile.signal_seconds,
        "wckey": None,  # submitit's own makes some sites refuse the job
        "setup": [*containers.setup_lines(profile), *exports, link],
        "srun_args": [
            *("--output", str(paths.stdout), "--error", str(paths.stderr), "--open-mode=append"),
            *step_options(profile, resources),
            *containers.srun_options(profile, _folders(request), workdir=paths.root),
        ],
    }
    if profile.mem_request:
        given["mem"] = f"{math.ceil(resources.mem_gb * 1024)}M"
    gpus, gpus_in_job = _gpus(profile, resources)
    given |= gpus
    given["additional_parameters"] = {
        "output": str(paths.stdout),
        "error": str(paths.stderr),
        "chdir": str(paths.root),
        "no-requeue": True,
        # The environment of sbatch itself, which we have cleaned. NONE would make the node run the login shell, which
        # fails or hangs at some sites and brings in whatever ~/.profile exports.
        "export": "ALL",
        **gpus_in_job,
        **extra,
    }
    return given


def asks_cpus(profile: Profile, resources: Resources) -> bool:
    """Tell whether a job names its CPUs: some sites give them with the GPUs and refuse the question."""
    return profile.cpu_request or not resources.gpus_per_node


def step_options(profile: Profile, resources: Resources) -> list[str]:
    """Return what every ``srun`` of a job needs, whatever it starts."""
    return [
        "--export=ALL",
        # Since Slurm 22.05 srun does not take this from sbatch: a step would be bound to one CPU.
        *([f"--cpus-per-task={resources.cpus_per_task}"] if asks_cpus(profile, resources) else []),
        "--kill-on-bad-exit=1",
        # Sites may set WaitTime, which ends the other tasks some seconds after the first one is through.
        "--wait=0",
    ]


def _gpus(profile: Profile, resources: Resources) -> tuple[dict[str, str], dict[str, str]]:
    """Return how this site wants GPUs to be asked for: submitit's parameters, and further sbatch options."""
    if not resources.gpus_per_node:
        return {}, {}
    kind = f"{profile.gpu_type}:" if profile.gpu_type else ""
    if profile.gpu_request == "gres":
        return {"gres": f"gpu:{kind}{resources.gpus_per_node}"}, {}
    if profile.gpu_request == "gpus-per-node":
        return {"gpus_per_node": f"{kind}{resources.gpus_per_node}"}, {}
    return {}, {"gpus": f"{kind}{resources.gpus}"}


def _folders(request: JobRequest) -> tuple[Path, ...]:
    """Return what a container must see: the attempt's folder, and what the job reads and writes elsewhere."""
    return (request.directory, *request.folders)
