"""One job of this machine from its spec to its result, watched in the foreground."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hpc_trex.errors import TrexError
from hpc_trex.files import read_record, write_record
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import Heartbeat, JobResult, JobSpec, Profile
from hpc_trex.slurm.local_backend import LocalScheduler
from hpc_trex.slurm.processes import parse_job_id
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState

_LOOK_SECONDS = 0.3

Tell = Callable[[str], None]


def numbered(folder: Path) -> list[Path]:
    """Return the attempts below ``folder`` (``1``, ``2``, ...) in their order."""
    return sorted((path for path in folder.glob("*") if path.name.isdecimal()), key=lambda path: int(path.name))


def finish_job(spec: JobSpec, tell: Tell) -> JobResult:
    """Run a job, or follow one of this spec that runs already, to its end and return its result.

    Ctrl-C asks it to stop: a training saves a checkpoint, and its result says so; a second one kills it. Raises
    :class:`TrexError` for a job that ended without a result, with its last words.
    """
    paths = AttemptPaths(Path(spec.attempt_dir))
    scheduler = LocalScheduler(Profile(name="by-hand"))
    reference = JobRef(spec.token, None, paths.root)
    if paths.spec.is_file():
        job_id = scheduler.poll([reference])[spec.token].job_id
        tell("following the job that was started before")
    else:
        paths.root.mkdir(parents=True)
        write_record(paths.spec, spec)
        job_id = scheduler.submit(JobRequest(spec.token, paths.root, paths.spec, spec.kind, spec.resources))
    reference = reference._replace(job_id=job_id)
    asked = False
    while True:
        try:
            return _follow(scheduler, reference, paths, tell)
        except KeyboardInterrupt:
            if asked:
                scheduler.cancel([reference])
                raise
            asked = True
            tell("asked to stop: a training saves a checkpoint first (again Ctrl-C: kill it)")
            identity = parse_job_id(job_id or "")
            if identity is not None:
                with suppress(ProcessLookupError):  # it is over already
                    os.kill(identity.pid, signal.SIGTERM)


def _follow(scheduler: LocalScheduler, job: JobRef, paths: AttemptPaths, tell: Tell) -> JobResult:
    """Tell of the job's heartbeats until its result is there."""
    told = ""
    while True:
        ended = scheduler.poll([job])[job.token].state in (JobState.ENDED, JobState.ABSENT)
        result = read_record(paths.result, JobResult)  # after the question: what ended has written it
        if result is not None:
            return result
        if ended:
            last = paths.stderr.read_text(errors="replace").strip().splitlines()[-5:] if paths.stderr.exists() else []
            raise TrexError("\n".join(["the job ended without a result", *last]), hint=f"see {paths.stderr}")
        beat = read_record(paths.heartbeat, Heartbeat)
        line = beat_line(beat) if beat else ""
        if line and line != told:
            told = line
            tell(line)
        time.sleep(_LOOK_SECONDS)


def beat_line(beat: Heartbeat) -> str:
    """Return a heartbeat in a line: ``training 40/120  loss 0.412  9,800 tokens/s  12 s left``."""
    words: list[str] = [beat.phase]
    if beat.total_steps:
        words[0] += f" {beat.step}/{beat.total_steps}"
    words += [f"loss {beat.loss:.3f}"] if beat.loss is not None else []
    words += [f"{beat.tokens_per_second:,.0f} tokens/s"] if beat.tokens_per_second else []
    words += [f"{beat.eta_seconds:.0f} s left"] if beat.eta_seconds else []
    words += [beat.message] if beat.message and beat.phase != "training" else []
    return "  ".join(words)
