"""What the probe job does on a compute node: look around, write what it found, end.

It is started as every job is, through the profile's own script; :func:`examine` is its entry.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from hpc_trex.doctor.contender import try_lock
from hpc_trex.doctor.network import Calls
from hpc_trex.doctor.sandboxes import found
from hpc_trex.doctor.software import gpus, torch_facts, versions
from hpc_trex.errors import LeaseHeld
from hpc_trex.files import read_record, server_now, write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import Record
from hpc_trex.slurm.commands import ask
from hpc_trex.tree.lease import Lease


class Order(Record):
    """What the probe job is to look at."""

    addresses: dict[str, str]
    sbatch: tuple[str, ...]
    """Options of the ``sbatch --test-only`` that it tries."""
    sandbox_image: str | None = None


class Facts(Record):
    """What the probe job found."""

    host: str
    versions: dict[str, str]
    gpus: list[dict[str, str]]
    torch: dict[str, object]
    network: dict[str, str]
    sbatch_code: int
    sbatch_words: str
    scratch: str
    scratch_from: str
    """The variable that names the folder; empty where it is Python's own choice."""
    scratch_free: int
    lease: str
    """``refused``, as it should be: the doctor holds it on the login node. Or ``granted``, or what went wrong."""
    lock: str
    clock: float
    """Seconds by which the file server's clock is ahead of this node's."""
    sandbox: dict[str, str] = {}
    """What can keep code of agents in, with what is wrong with it; an empty text: it holds."""


def paths(folder: Path) -> tuple[Path, SearchPaths, Path]:
    """Return where the facts go, the lease that is held, and the locked file."""
    return folder / "facts.json", SearchPaths(folder / "held"), folder / "lock"


def examine(order_path: str) -> NoReturn:
    """Look around and write the facts beside the order."""
    folder = Path(order_path).parent
    order = read_record(Path(order_path), Order)
    if order is None:
        sys.stderr.write(f"hpc-trex doctor: {order_path} cannot be read on this node\n")
        sys.exit(2)
    target, held, lock = paths(folder)
    calls = Calls(order.addresses)
    answer = ask(("sbatch", "--test-only", *order.sbatch))
    scratch, variable = _scratch()
    facts = Facts(
        host=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        versions=versions(),
        gpus=gpus(),
        torch=torch_facts(),
        network=calls.answers(),
        sbatch_code=answer.code,
        sbatch_words=answer.words,
        scratch=str(scratch),
        scratch_from=variable,
        scratch_free=_free(scratch),
        lease=_lease(held),
        lock=_lock(lock),
        clock=server_now(folder / "clock") - time.time(),
        sandbox=found(order.sandbox_image),
    )
    write_record(target, facts)
    sys.exit(0)


def _scratch() -> tuple[Path, str]:
    for name in ("SLURM_TMPDIR", "TMPDIR"):
        if os.environ.get(name):
            return Path(os.environ[name]), name
    return Path(tempfile.gettempdir()), ""


def _free(folder: Path) -> int:
    """Return the free bytes; -1 where the folder cannot be written."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return -1
    return shutil.disk_usage(folder).free


def _lease(held: SearchPaths) -> str:
    try:
        Lease(held).acquire()
    except LeaseHeld:
        return "refused"
    except OSError as error:
        return str(error.strerror)
    return "granted"


def _lock(path: Path) -> str:
    try:
        with path.open("a") as handle:
            return try_lock(handle.fileno())
    except OSError as error:
        return str(error.strerror)
