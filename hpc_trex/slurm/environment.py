"""The environment of jobs and of Slurm's commands: what an enclosing job left behind is dropped, and so are secrets.

Everything that is not dropped is passed on: the PATH, the modules and the library paths that the user has loaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import hpc_trex
from hpc_trex.models import Profile, Resources
from hpc_trex.slurm import containers

#: Names that tell Slurm's commands where the controller is; they survive although they begin with SLURM_.
KEPT = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER"})

#: What Slurm, MPI and launchers set for the processes of one job, and what changes the commands' options or output.
_OF_A_JOB = re.compile(
    r"""(?x)
    (SLURM|SLURMD|SBATCH|SRUN|SALLOC|SACCT|SQUEUE|SCANCEL|SINFO|SCONTROL|SSTAT|SUBMITIT)_.* | SLUID
    | (PMI|PMIX|PMI2|TORCHELASTIC)_.* | OMPI_COMM_WORLD_.* | MV2_COMM_WORLD_.* | MPI_LOCAL.* | HYDI_.*
    | (LOCAL_|GROUP_|ROLE_|NODE_)?RANK | ((LOCAL|ROLE|GROUP)_)?WORLD_SIZE | MASTER_(ADDR|PORT)
    | (CUDA|HIP|ROCR|NVIDIA)_VISIBLE_DEVICES | GPU_DEVICE_ORDINAL | ZE_AFFINITY_MASK
    """
)

_SECRET_NAME = re.compile(
    r".*(API_?KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS|ACCESS_KEY|PRIVATE_KEY).*|(.*_)?(TOKEN|PAT|JWT|KEY)|SSH_AUTH_SOCK",
    re.IGNORECASE,
)

#: A URL with a user's name and password in it, as in some proxies and package indexes.
_URL_WITH_PASSWORD = re.compile(r"://[^/\s:@]+:[^/\s@]+@")


def belongs_to_a_job(name: str) -> bool:
    """Tell whether a variable was set by a scheduler or launcher for one of its jobs."""
    return name not in KEPT and _OF_A_JOB.fullmatch(name) is not None


def is_secret(name: str, value: str = "") -> bool:
    """Tell whether a variable looks like a key, a token or a password, by its name or by a password in a URL."""
    return _SECRET_NAME.fullmatch(name) is not None or _URL_WITH_PASSWORD.search(value) is not None


def dropped_names(base: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of the variables in ``base`` (default: ours) that no job and no Slurm command may see."""
    given = os.environ if base is None else base
    # A TMPDIR that an enclosing job was given is removed together with that job.
    inside = "SLURM_JOB_ID" in given
    return sorted(
        name
        for name, value in given.items()
        if belongs_to_a_job(name) or is_secret(name, value) or (inside and name == "TMPDIR")
    )


def clean_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return ``base`` (default: ours) without the variables of an enclosing job and without secrets."""
    given = dict(os.environ if base is None else base)
    for name in dropped_names(given):
        del given[name]
    return given


def with_this_package(base: Mapping[str, str]) -> dict[str, str]:
    """Return ``base`` so that a Python of ours finds this very package, whatever folder it is started in."""
    root = str(Path(hpc_trex.__file__).resolve().parent.parent)
    path = base.get("PYTHONPATH")
    return {**base, "PYTHONSAFEPATH": "1", "PYTHONPATH": f"{root}:{path}" if path else root}


def job_variables(profile: Profile, resources: Resources) -> dict[str, str]:
    """Return the variables that every job of this profile sets, the profile's own ``environment`` winning."""
    threads = max(1, resources.cpus_per_task // resources.processes_per_node)
    variables = {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return variables | network_variables(profile) | containers.variables(profile) | profile.environment


def network_variables(profile: Profile) -> dict[str, str]:
    """Return what the profile's network class means for a job: libraries that would call home wait for a time-out.

    Both ways are said, so that what the user's shell exports does not decide.
    """
    offline = "0" if profile.network == "compute" else "1"
    switches = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_EVALUATE_OFFLINE")
    variables = dict.fromkeys(switches, offline) | {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    return variables if profile.network == "compute" else variables | {"WANDB_MODE": "offline"}
