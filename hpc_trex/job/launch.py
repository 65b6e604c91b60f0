"""How the workers of a job are started: directly, or by torch's launcher on one node or on several."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import hpc_trex
from hpc_trex.errors import JobFailure
from hpc_trex.files import write_atomic
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import FailureClass, JobKind, JobSpec, ServeSpec
from hpc_trex.training.say import say

_RENDEZVOUS_SECONDS = 300.0


class Seat(NamedTuple):
    """Which of a job's supervisors this is: Slurm starts one a node, a local job has one."""

    number: int
    seats: int
    job_id: str

    @property
    def leads(self) -> bool:
        """Only the leader claims the attempt and writes its files."""
        return self.number == 0

    @classmethod
    def of(cls, spec: JobSpec | ServeSpec, environment: Mapping[str, str]) -> Seat:
        """Read the seat from Slurm's environment; one process where the job has one node."""
        job_id = environment.get("SLURM_JOB_ID", "")
        if environment.get("SLURM_ARRAY_JOB_ID"):
            job_id = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment.get('SLURM_ARRAY_TASK_ID', '0')}"
        if environment.get("HPC_TREX_STEP"):  # several jobs of one allocation: each is a step
            job_id = f"{job_id}.{environment.get('SLURM_STEP_ID', '')}"
        number = int(environment.get("SLURM_PROCID", "0")) if spec.resources.nodes > 1 else 0
        return cls(number=number, seats=spec.resources.nodes, job_id=job_id or str(os.getpid()))


def worker_environment(spec: JobSpec | ServeSpec, outer: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the workers. What the scheduler has set already stays as it is."""
    threads = max(1, spec.resources.cpus_per_task // spec.resources.processes_per_node)
    defaults = {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # TERM reaches every process of a Slurm step. The launcher must not kill the workers on it: they are asked to
        # stop by a file, save their checkpoint and end. (The launcher reads its options from PET_... too.)
        "PET_SIGNALS_TO_HANDLE": "SIGQUIT",
    }
    environment = defaults | dict(outer)
    # PYTHONSAFEPATH keeps the working folder off the path, where a checkout that is not installed would be found.
    home = str(Path(hpc_trex.__file__).parent.parent)
    path = environment.get("PYTHONPATH", "")
    if home not in path.split(os.pathsep) and not home.endswith("-packages"):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [path, home]))
    return environment


def command(spec: JobSpec, spec_path: Path, seat: Seat, paths: AttemptPaths) -> list[str]:
    """Return the command of the worker, or of the launcher that starts this node's workers.

    Only trainings run on several processes; everything else is one. On several nodes the leader's rendezvous file
    says where they meet.
    """
    worker = ["-m", "hpc_trex.job.worker", str(spec_path)]
    if spec.kind is not JobKind.TRAIN or spec.resources.processes == 1:
        return [sys.executable, *worker]
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={spec.resources.processes_per_node}"]
    if seat.seats == 1:
        return [*launcher, "--standalone", *worker]
    meeting = publish_meeting(paths, seat) if seat.leads else read_meeting(paths, seat)
    return [
        *launcher,
        f"--nnodes={seat.seats}",
        "--rdzv-backend=c10d",
        f"--rdzv-id={seat.job_id}",
        f"--rdzv-endpoint={meeting}",
        f"--rdzv-conf=is_host={int(seat.leads)}",
        *worker,
    ]


def meeting_path(paths: AttemptPaths) -> Path:
    """Return the file that tells the other nodes where the leader waits."""
    return paths.root / "rendezvous.json"


def publish_meeting(paths: AttemptPaths, seat: Seat) -> str:
    """Choose ``host:port`` on this node, write it for the other nodes and return it."""
    meeting = f"{own_address()}:{free_port(seat.job_id)}"
    write_atomic(meeting_path(paths), json.dumps({"job_id": seat.job_id, "endpoint": meeting}))
    return meeting


def read_meeting(paths: AttemptPaths, seat: Seat, *, seconds: float = _RENDEZVOUS_SECONDS) -> str:
    """Wait for the leader's file and return ``host:port``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if meeting_path(paths).exists():
            meeting = json.loads(meeting_path(paths).read_text())
            if meeting["job_id"] == seat.job_id:
                return str(meeting["endpoint"])
        time.sleep(0.2)
    raise JobFailure(
        f"the job's first node did not say within {seconds:.0f} s where to meet", failure=FailureClass.ENVIRONMENT
    )


def own_address() -> str:
    """Return a name of this node that the other nodes can use.

    That is Slurm's node name where it can be resolved, as it can on a cluster; where one machine plays several nodes,
    the machine's own name is.
    """
    for name in (*_slurm_hosts()[:1], os.environ.get("SLURMD_NODENAME", ""), socket.gethostname()):
        if name:
            try:
                socket.getaddrinfo(name, None)
            except OSError:
                continue
            return name
    return "127.0.0.1"


def _slurm_hosts() -> list[str]:
    """Return the job's nodes, the leader's first; nothing outside Slurm."""
    nodes = os.environ.get("SLURM_JOB_NODELIST")
    if not nodes:
        return []
    try:
        done = subprocess.run(
            ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        say(f"scontrol show hostnames failed ({error}); the node's own name is used", error=True)
        return []
    return done.stdout.split()


def free_port(job_id: str) -> int:
    """Return a port for a job's rendezvous that can be bound now.

    It starts from the job id, so that two jobs on one node try different ones, and stays below the range from which
    the kernel takes ports for outgoing connections.
    """
    low, high = 10000, _ephemeral_low()
    if high - low < 1000:
        low, high = 1024, max(high, 2048)
    start = int.from_bytes(job_id.encode(), "big") % (high - low)
    for step in range(200):
        port = low + (start + step * 101) % (high - low)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise JobFailure("no free port for the rendezvous of the nodes", failure=FailureClass.ENVIRONMENT)


def _ephemeral_low() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):  # not Linux: IANA's range
        return 49152
