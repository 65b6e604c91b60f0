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


class Serving(Resources):
    """What the job of a served language model asks for (``launch --llm-serve``), and how it runs."""

    command: tuple[str, ...] = ()
    """Another server's command, e.g. ``["llama-server", "-m", "{model}", "--host", "{host}", "--port", "{port}",
    "--api-key-file", "{key_file}"]``; default: vLLM where it is installed on the node, else ``transformers serve``."""
    options: tuple[str, ...] = ()
    """Further words for the default command, e.g. ``["--max-model-len", "32768"]``."""
    idle_minutes: float = Field(default=30.0, gt=0)
    """It ends when nobody has needed it for so long."""
    start_minutes: float = Field(default=30.0, gt=0)
    """It must answer within so long after its start."""


class Scoring(Resources):
    """The job that scores what a model wrote (``evaluate.scoring = "own-job"``), in an environment of its own."""

    python: str | None = None
    """Interpreter with hpc-trex, numpy and the metric's libraries; default: the profile's. One that is named runs outside the container."""
    setup: tuple[str, ...] | None = None
    """Shell lines before it instead of the profile's; with them no module is loaded."""


class Container(Record):
    """The image that jobs run in, and what starts it. The image's hash goes into every result."""

    image: str = Field(min_length=1)
    """Absolute path of a ``.sif`` file (apptainer, singularity); such a path or ``registry#name:tag`` (pyxis)."""
    runner: Literal["apptainer", "singularity", "pyxis"] = "apptainer"
    """``pyxis``: Slurm itself starts the image, through ``srun --container-image``."""
    binds: tuple[str, ...] = ()
    """Folders visible inside: ``/scratch`` or ``/from:/to``."""
    options: tuple[str, ...] = ()
    """Further options of the runner, e.g. ``--containall``."""
    python: str = "python3"
    """The interpreter inside the image."""


class Profile(Record):
    """One cluster (DESIGN section 2). Shipped ones stand in ``slurm/profiles/``, a site's own in its site folder."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    scheduler: Literal["local", "slurm", "steps"] = "local"
    """``steps``: ``srun`` steps inside the allocation that the controller itself runs in (``--in-allocation``)."""
    description: str = ""

    parallel: int | None = Field(default=None, ge=1)
    """Jobs at once; default: as many as the machine has physical cores and memory for (local), 4 (slurm)."""
    train: Resources = Resources()
    prepare: Resources = Resources()
    evaluate: Resources = Resources()
    score: Scoring | None = None
    """Of the job that scores answers; default: ``evaluate`` without GPUs. Where it stands, answers are scored so."""
    serve: Serving | None = None
    """The job of a served language model; default: ``train``, on one node."""
    controller: Resources = Resources(mem_gb=2.0, minutes=720)
    """The small job that runs the controller (``launch --as-job``)."""
    controller_partition: str | None = None
    """Where that job goes; default: ``partition``."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpu_request: Literal["gres", "gpus-per-node", "gpus"] = "gres"
    """The spelling that the site accepts."""
    gpu_type: str | None = None
    mem_request: bool = True
    """False at sites that allot memory by CPU or GPU themselves and refuse ``--mem``."""
    cpu_request: bool = True
    """False at sites that allot CPUs by GPU themselves and refuse ``--cpus-per-task`` in GPU jobs."""
    extra: dict[str, str | int | bool] = {}
    """Further sbatch options by their long name, e.g. ``{reservation = "course"}``."""
    signal_seconds: int = Field(default=120, ge=10)
    """How long before the time limit the job is warned (``--signal``)."""
    accounting: Literal["auto", "yes", "no"] = "auto"
    """Does ``sacct`` answer? ``auto`` asks once."""

    max_minutes: int | None = Field(default=None, ge=1)
    """The longest job that the partition takes; a longer one is refused before anything is submitted."""
    gpus_on_a_node: int | None = Field(default=None, ge=0)
    """GPUs of the partition's largest node, for the same purpose."""
    gpu_mem_gb: float | None = Field(default=None, gt=0)
    """Memory of one GPU in GiB: a training that cannot fit is refused before it is queued, with figures."""
    max_array: int | None = Field(default=None, ge=1)
    """``MaxArraySize`` of the cluster: array indices stay below it. Default: asked of ``scontrol show config``."""
    preemption: str = ""
    """``PreemptMode`` as ``profile init`` found it; for people."""
    hang_minutes: float = Field(default=30.0, gt=0)
    """A worker that makes no progress for so long is ended as hung."""
    checkpoint_minutes: float = Field(default=10.0, gt=0)
    """How often a training saves a checkpoint unasked: what a site that gives no warning may cost."""
    idle_gpu_minutes: float = Field(default=30.0, ge=0)
    """A job whose GPUs all stay below ``idle_gpu_percent`` for so long is ended as idle; 0: never."""
    idle_gpu_percent: float = Field(default=5.0, ge=0, le=100)

    modules: tuple[str, ...] = ()
    """Environment modules that a job loads first, e.g. ``cuda/12.4``."""
    container: Container | None = None
    setup: tuple[str, ...] = ()
    """Shell lines before the job, e.g. ``module load cuda/12.4``."""
    python: str | None = None
    """Interpreter on the compute nodes; default: the controller's own."""
    runner: tuple[str, ...] = ()
    """A prefix before the interpreter, e.g. a container's ``apptainer exec --nv image.sif``."""
    environment: dict[str, str] = {}
    """Variables of the job. Never a secret: they are written into the job's script."""
    agent_code: bool = False
    """May a recipe hold code that an agent wrote (the ``python`` step)? It runs in a sandbox or not at all."""
    sandbox: Literal["bwrap", "apptainer", "none"] | None = None
    """What the sandbox is made with on compute nodes, as the doctor found it. ``none``: nothing there will do, and such
    steps are refused before any job. Default: each job looks for itself."""
    sandbox_image: str | None = None
    """Absolute path of an image with a Python, for ``apptainer``; default: the one of ``container``."""
    network: Literal["compute", "login", "none"] = "login"
    """Where the internet is reachable: also on compute nodes, on login nodes only, nowhere."""
    poll_seconds: float = Field(default=30.0, gt=0)
    """Pause between two looks at the queue."""
    share: Literal["private", "group"] = "private"

    @property
    def of_scoring(self) -> Profile:
        """The profile as a job that scores answers sees it: with the environment of ``score``."""
        if self.score is None:
            return self
        changes: dict[str, object] = {}
        if self.score.python is not None:
            changes |= {"python": self.score.python, "container": None, "runner": ()}
        if self.score.setup is not None:
            changes |= {"setup": self.score.setup, "modules": ()}
        return self.model_copy(update=changes)

    @property
    def image_of_code(self) -> str | None:
        """The image file in which Apptainer runs code of agents; None where the profile names none."""
        if self.sandbox_image or self.container is None or self.container.runner == "pyxis":
            return self.sandbox_image
        return self.container.image
