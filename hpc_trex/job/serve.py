"""The job of a served language model: one server, its address in a file once it answers, its end when it is not needed.

The search's key comes from a file and goes into the server's environment: no command line and no script holds it.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from hpc_trex.errors import TrexError
from hpc_trex.files import umask_of, write_record
from hpc_trex.job.child import Child
from hpc_trex.job.claim import claim
from hpc_trex.job.launch import Seat, worker_environment
from hpc_trex.job.server_command import Server, answers, free_port, server_for
from hpc_trex.job.signals import StopSignals
from hpc_trex.layout import AttemptPaths, server_address
from hpc_trex.models import FailureClass, Heartbeat, JobResult, ServerAddress, ServeSpec
from hpc_trex.training.say import say

LOOK_SECONDS = 0.5
BEAT_SECONDS = 10.0
#: A port that was free may be taken a moment later.
PORTS = 3
_PORT_TAKEN = "address already in use"
#: Of a server that is told to end: vLLM needs a moment to give its GPUs back by itself.
GRACE_SECONDS = 5.0


class End(NamedTuple):
    """How the serving ended: ``failure`` None where it was to end."""

    words: str
    failure: FailureClass | None = None


def serve(spec_path: str, signals: StopSignals) -> int:
    """Serve until the end, write the result and return the exit code of :func:`hpc_trex.job.entry.run`."""
    began = time.monotonic()
    path = Path(spec_path).absolute()
    os.umask(umask_of(path.parent))
    try:
        spec = ServeSpec.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        say(f"job spec {path} cannot be used: {error}", error=True)
        return 2
    paths = AttemptPaths(Path(spec.attempt_dir))
    seat = Seat.of(spec, os.environ)
    try:
        if not claim(paths, spec, seat):
            return 0
        end = _Serving(spec, paths, signals, began).run()
    except (TrexError, OSError) as error:
        end = End(error.message if isinstance(error, TrexError) else str(error), FailureClass.ENVIRONMENT)
    return _publish(paths, spec, seat, end, began)


class _Serving:
    """One server from its start to its end."""

    def __init__(self, spec: ServeSpec, paths: AttemptPaths, signals: StopSignals, began: float) -> None:
        self.spec = spec
        self.paths = paths
        self.signals = signals
        self.began = began
        self.key = Path(spec.key_file).read_text(encoding="ascii").strip()
        self._beaten = float("-inf")

    def run(self) -> End:
        """Try a few ports, and stay with the server that answers."""
        end = End("")
        for _ in range(PORTS):
            server = server_for(self.spec, free_port())
            say(f"starting: {' '.join(server.words)}")
            child = Child(server.words, self._environment())
            try:
                end = self._attend(child, server)
            finally:
                _let_end(child)
                code = child.end()
            if not end.words:
                lines = child.last_lines()
                end = end._replace(words="\n".join([f"the server ended with exit code {code}", *lines]))
                if _PORT_TAKEN in end.words.lower():
                    continue
            break
        return end

    def _environment(self) -> dict[str, str]:
        names = ("VLLM_API_KEY", "LLAMA_API_KEY", "HPC_TREX_SERVE_KEY")
        quiet = {"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"}
        return worker_environment(self.spec, os.environ) | quiet | dict.fromkeys(names, self.key)

    def _attend(self, child: Child, server: Server) -> End:
        """Stay with the child. Words that are empty: it ended by itself."""
        until = time.monotonic() + self.spec.start_seconds
        ready, idle = False, _Idle(Path(self.spec.asked_file), self.spec.idle_seconds)
        while child.exit_code() is None:
            child.listen(LOOK_SECONDS)
            self._beat(ready=ready)
            if self.signals.received:
                return _told(self.signals.received[0])
            if idle.over():
                return End(f"nobody needed the server for {self.spec.idle_seconds / 60:g} min")
            if not ready and answers(server.port, self.key):
                ready = True
                self._tell(server)
            if not ready and time.monotonic() > until:
                lines = "\n".join(child.last_lines())
                late = f"the server did not answer within {self.spec.start_seconds / 60:g} min"
                return End(f"{late}\n{lines}".rstrip(), FailureClass.ENVIRONMENT)
        return End("", FailureClass.ENVIRONMENT)

    def _tell(self, server: Server) -> None:
        host = "127.0.0.1" if self.spec.loopback else socket.gethostname()
        address = ServerAddress(token=self.spec.token, host=host, port=server.port, model=server.model)
        write_record(server_address(self.paths), address)
        say(f"the server answers at {address.url}")

    def _beat(self, *, ready: bool) -> None:
        now = time.monotonic()
        if now - self._beaten < BEAT_SECONDS:
            return
        self._beaten = now
        beat = Heartbeat(phase="serving" if ready else "loading", seconds=round(now - self.began, 3))
        try:
            write_record(self.paths.heartbeat, beat)
        except TrexError as error:
            say(f"heartbeat not written: {error.message}")


class _Idle:
    """Whether the controller has stopped touching its file, told without comparing clocks."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._seen = 0
        self._since = time.monotonic()

    def over(self) -> bool:
        now = time.monotonic()
        try:
            seen = self._path.stat().st_mtime_ns
        except OSError:  # the file system is away, or nobody has asked yet
            seen = self._seen
        if seen != self._seen:
            self._seen, self._since = seen, now
        return now - self._since > self._seconds


def _let_end(child: Child) -> None:
    """Ask the server to end by itself; whatever is left is killed afterwards."""
    if child.exit_code() is None:
        child.terminate()
        until = time.monotonic() + GRACE_SECONDS
        while child.exit_code() is None and time.monotonic() < until:
            child.listen(0.1)


def _told(number: signal.Signals) -> End:
    if number in (signal.SIGUSR1, signal.SIGUSR2):
        return End("its time limit is near", FailureClass.TIMEOUT)
    return End(f"it was told to end ({number.name})", FailureClass.PREEMPTED)


def _publish(paths: AttemptPaths, spec: ServeSpec, seat: Seat, end: End, began: float) -> int:
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    result = JobResult(
        token=spec.token,
        state="failed" if end.failure else "succeeded",
        failure=end.failure,
        message=end.words[:4000],
        seconds=round(time.monotonic() - began, 3),
        cpu_seconds=round(own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime, 3),
        gpus=spec.resources.gpus,
        host=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        job_id=seat.job_id,
    )
    try:
        write_record(paths.result, result)
    except (TrexError, OSError) as error:
        say(f"the result could not be written: {error}", error=True)
        return 8
    say(f"the server is over: {end.words}", error=end.failure is not None)
    return 1 if end.failure else 0
