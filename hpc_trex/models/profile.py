"""The profile: one cluster (or this machine), how to ask it for resources and what it allows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpc_trex.models.base import Record


class Resources(Record):
    """What one job asks for. ``processes`` is the total number of training processes (ranks) of the job."""

    nodes: int = Field(default=1, ge=1)
    gpus_per_node: int = Field(default=0, ge=0)
    cpus_per_task: int = Field(default=1, ge=1)
    """One task a node; the launcher fans out to the processes."""
    processes_per_node: int = Field(default=1, ge=1)
    mem_gb: float = Field(default=4.0, gt=0)
    minutes: int = Field(default=60, ge=1)
    """Time limit. There is no unlimited: such a job never starts before a maintenance."""

    @property
    def processes(self) -> int:
        """Training processes of the whole job."""
        return self.nodes * self.processes_per_node

    @property
    def gpus(self) -> int:
        """GPUs of the whole job."""
        return self.nodes * self.gpus_per_node


class Profile(Record):
    """One cluster (DESIGN section 2). Shipped ones stand in ``slurm/profiles/``, a site's own in its site folder."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    scheduler: Literal["local", "slurm"] = "local"
    description: str = ""

    parallel: int | None = Field(default=None, ge=1)
    """Jobs at once; default: as many as the machine has physical cores and memory for (local), 4 (slurm)."""
    train: Resources = Resources()
    prepare: Resources = Resources()
    evaluate: Resources = Resources()

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpu_request: Literal["gres", "gpus-per-node", "gpus"] = "gres"
    """The spelling that the site accepts."""
    gpu_type: str | None = None
    mem_request: bool = True
    """False at sites that allot memory by CPU or GPU themselves and refuse ``--mem``."""
    extra: dict[str, str | int | bool] = {}
    """Further sbatch options by their long name, e.g. ``{reservation = "course"}``."""
    signal_seconds: int = Field(default=120, ge=10)
    """How long before the time limit the job is warned (``--signal``)."""
    accounting: Literal["auto", "yes", "no"] = "auto"
    """Does ``sacct`` answer? ``auto`` asks once."""

    setup: tuple[str, ...] = ()
    """Shell lines before the job, e.g. ``module load cuda/12.4``."""
    python: str | None = None
    """Interpreter on the compute nodes; default: the controller's own."""
    runner: tuple[str, ...] = ()
    """A prefix before the interpreter, e.g. a container's ``apptainer exec --nv image.sif``."""
    environment: dict[str, str] = {}
    """Variables of the job. Never a secret: they are written into the job's script."""
    network: Literal["compute", "login", "none"] = "login"
    """Where the internet is reachable: also on compute nodes, on login nodes only, nowhere."""
    poll_seconds: float = Field(default=30.0, gt=0)
    """Pause between two looks at the queue."""
    share: Literal["private", "group"] = "private"
