"""The supervisor of one job: light, outside the training, and the only writer of ``result.json``.

It claims the attempt, starts the worker (or the launcher above several), passes on requests to stop, watches heartbeat,
time limit and memory, leaves no process behind, and writes exactly one result whatever happened to the worker.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

from pydantic import ValidationError

from hpc_trex import version
from hpc_trex.errors import TrexError
from hpc_trex.files import read_record, umask_of, write_record
from hpc_trex.job.child import Child
from hpc_trex.job.claim import claim, follow
from hpc_trex.job.conclude import Death, conclude
from hpc_trex.job.files import Outcome, StopRequest, outcome_path
from hpc_trex.job.fingerprint import code_digest, versions
from hpc_trex.job.idle import IdleGuard
from hpc_trex.job.launch import Seat, command, worker_environment
from hpc_trex.job.memory import oom_kills
from hpc_trex.job.scratch import scratch
from hpc_trex.job.signals import StopSignals
from hpc_trex.job.watch import Action, Limits, Watch
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import FailureClass, Heartbeat, JobKind, JobResult, JobSpec
from hpc_trex.training.say import say

_LOOK_SECONDS = 0.2
_MEMORY_SECONDS = 1.0
#: How long the workers may take to end once the outcome is there; a tear-down that hangs must not keep the GPUs.
_LEAVE_SECONDS = 60.0


def supervise(spec_path: str, signals: StopSignals) -> int:
    """Run the job of ``spec_path`` to its result and return the exit code of :func:`hpc_trex.job.entry.run`."""
    began = time.monotonic()
    path = Path(spec_path).absolute()
    os.umask(umask_of(path.parent))  # private, unless the controller made the folder writable for the group
    try:
        spec = JobSpec.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        return _refuse(path, error)
    paths = AttemptPaths(Path(spec.attempt_dir))
    seat = Seat.of(spec, os.environ)
    try:
        if not (claim(paths, spec, seat) if seat.leads else follow(paths, seat)):
            return 0
    except OSError as error:
        say(f"the attempt cannot be claimed: {error}", error=True)
        return 8
    try:
        result = _work(spec, path, paths, seat, signals)
    except Exception as error:  # noqa: BLE001 - even a fault of this program ends in a result
        traceback.print_exc()
        message = f"the supervisor failed: {type(error).__name__}: {error}"
        result = JobResult(token=spec.token, state="failed", failure=FailureClass.ENVIRONMENT, message=message)
    return _publish(paths, _signed(result, spec, seat, began)) if seat.leads else 0


def _work(spec: JobSpec, spec_path: Path, paths: AttemptPaths, seat: Seat, signals: StopSignals) -> JobResult:
    """Run the workers of this node and return what came of it."""
    if strange := _other_program(spec.container.program if spec.container else ""):
        return JobResult(token=spec.token, state="failed", failure=FailureClass.ENVIRONMENT, message=strange)
    kills = oom_kills()
    watch = Watch(Limits.of(spec), time.monotonic())
    if not (seat.leads or spec.kind is JobKind.TRAIN):  # only trainings use all nodes
        _await_leader(paths, watch, signals)
        return JobResult(token=spec.token, state="succeeded")
    with ExitStack() as last:
        try:
            own = last.enter_context(scratch(os.environ))
            line = command(spec, spec_path, seat, paths)
            child = Child(line, worker_environment(spec, os.environ) | own)
        except (TrexError, OSError) as error:
            failure = getattr(error, "failure", FailureClass.ENVIRONMENT)
            message = f"cannot start the worker: {error}"
            return JobResult(token=spec.token, state="failed", failure=failure, message=message)
        return _stay(spec, child, watch, paths, seat, signals, kills)


def _stay(
    spec: JobSpec, child: Child, watch: Watch, paths: AttemptPaths, seat: Seat, signals: StopSignals, kills: int
) -> JobResult:
    """See the child to its end, leave nothing of it running, and return what came of it."""
    try:
        _attend(child, watch, paths, signals, IdleGuard(spec, os.environ, time.monotonic()))
        if not seat.leads:
            _await_leader(paths, watch, signals)
    finally:
        code = child.end()
    death = Death(code, child.last_lines(), max(0, oom_kills() - kills), child.peak_gb)
    result = conclude(spec, read_record(outcome_path(paths), Outcome), watch.verdict, death)
    peak = result.peak_memory_gb or round(child.peak_gb, 3) or None
    return result.model_copy(update={"peak_memory_gb": peak})


def _other_program(wanted: str) -> str:
    """Return what is wrong when an image holds another version of this program than the controller's; else nothing."""
    if not wanted or wanted == version():
        return ""
    return f"the image holds hpc-trex {version()}, the search is run by {wanted}: build the image anew (containers/README.md)"


def _attend(child: Child, watch: Watch, paths: AttemptPaths, signals: StopSignals, guard: IdleGuard) -> None:
    """Stay with the child until it ends or has to be ended."""
    try:
        _stay_with(child, watch, paths, signals, guard)
    finally:
        guard.close()
    if child.exit_code() is None and watch.verdict is not None:
        child.dump_stacks()  # where it stood, for whoever reads the log


def _stay_with(child: Child, watch: Watch, paths: AttemptPaths, signals: StopSignals, guard: IdleGuard) -> None:
    stop = StopRequest(paths)
    beat, phase, sampled = _BeatReader(paths), "starting", 0.0
    handed_over: float | None = None
    while child.exit_code() is None:
        child.listen(_LOOK_SECONDS)
        now = time.monotonic()
        if beat.renewed():
            watch.progress(now)
            phase = beat.phase()
        if now - sampled >= _MEMORY_SECONDS:
            sampled = now
            child.sample_memory()
            if handed_over is None and outcome_path(paths).exists():
                handed_over = now
        if handed_over is not None and now - handed_over > _LEAVE_SECONDS:
            say("the work is done, but a process does not end: it is killed", error=True)
            return
        action = watch.look(now, signals.received, saves=phase in ("training", "saving"), idle=guard.look(now))
        if action is Action.KILL:
            return
        if action is Action.ASK:
            reason = watch.verdict.message if watch.verdict else ""
            say(f"asking the worker to stop: {reason}")
            _ask(stop, reason, watch)


def _ask(stop: StopRequest, reason: str, watch: Watch) -> None:
    """Leave the request; where the disk refuses it, the worker is killed when its time is up."""
    try:
        stop.ask(reason)
    except TrexError as error:
        say(f"{error.message}; {watch.verdict}", error=True)


def _await_leader(paths: AttemptPaths, watch: Watch, signals: StopSignals) -> None:
    """Keep this node's task until the job has its result: many sites end a job soon after its first task ends."""
    beat = _BeatReader(paths)
    while not paths.result.exists():
        time.sleep(_LOOK_SECONDS)
        if beat.renewed():
            watch.progress(time.monotonic())
        if watch.look(time.monotonic(), signals.received, saves=False) is Action.KILL:
            return


class _BeatReader:
    """Sees that the heartbeat was rewritten, without comparing clocks."""

    def __init__(self, paths: AttemptPaths) -> None:
        self._path = paths.heartbeat
        self._seen: tuple[int, int] | None = None

    def renewed(self) -> bool:
        try:
            found = self._path.stat()
        except OSError:  # not there yet, or the file system is away for a moment
            return False
        last, self._seen = self._seen, (found.st_ino, found.st_mtime_ns)
        return self._seen != last

    def phase(self) -> str:
        beat = read_record(self._path, Heartbeat)
        return beat.phase if beat else "starting"


def _signed(result: JobResult, spec: JobSpec, seat: Seat, began: float) -> JobResult:
    """Add what the supervisor knows: time, cost, place and origin."""
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return result.model_copy(
        update={
            "seconds": round(time.monotonic() - began, 3),
            "cpu_seconds": round(own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime, 3),
            "gpus": spec.resources.gpus,
            "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
            "job_id": seat.job_id,
            "versions": versions(),
            "hashes": {**result.hashes, "code": code_digest()} | _image_hash(spec),
        }
    )


def _image_hash(spec: JobSpec) -> dict[str, str]:
    return {"container": spec.container.sha256} if spec.container and spec.container.sha256 else {}


def _publish(paths: AttemptPaths, result: JobResult) -> int:
    """Write the result; where the disk refuses it, say so and return 8."""
    try:
        write_record(paths.result, result)
    except (TrexError, OSError) as error:
        message = error.message if isinstance(error, TrexError) else str(error)
        say(f"the result could not be written: {message}\n{result.state}: {result.message}", error=True)
        return 8
    said = result.state if result.state == "succeeded" else f"failed ({result.failure}): {result.message}"
    say(f"job {said}")
    return 0 if result.state == "succeeded" else 1


def _refuse(path: Path, error: OSError | ValidationError) -> int:
    """A spec that cannot be read or is invalid: leave a result beside it where its token can be read, and return 2."""
    say(f"job spec {path} cannot be used: {error}", error=True)
    try:
        raw = json.loads(path.read_bytes())
        # A spec of a newer program may be one that this image cannot read.
        strange = _other_program((raw.get("container") or {}).get("program", ""))
        failure = FailureClass.ENVIRONMENT if strange else FailureClass.CONFIG
        message = strange or f"invalid job spec: {error}"[:4000]
        result = JobResult(token=raw["token"], state="failed", failure=failure, message=message)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 2
    target = AttemptPaths(path.parent)
    if not target.started.exists() and not target.result.exists():
        _publish(target, result)
    return 2
