"""A job inside a container: what stands before the interpreter, what ``srun`` is told, which folders are visible.

Functions over a profile that start nothing: every back end builds its command from :func:`interpreter`,
:func:`srun_options` and :func:`setup_lines`. What must be decided on the node (is the runner there, which GPUs did this
task get, where is its TMPDIR) is decided by :data:`_AT_THE_NODE`, a few lines of shell that ``exec`` the runner.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from hpc_trex.errors import UsageProblem
from hpc_trex.files import write_atomic
from hpc_trex.models import Container, Profile
from hpc_trex.slurm.scheduler import SubmitRefused

#: Variables that a job needs, beside the profile's own, where the runner is told to drop the environment.
_FORWARDED = (
    "(SLURM|SUBMITIT|HPC_TREX|HF|NCCL|OMP|CUDA|ROCR|HIP|NVIDIA|TOKENIZERS|PYTHON|DO_NOT|WANDB)_[A-Za-z0-9_]+"
    "|PYTHONSAFEPATH|PYTHONUNBUFFERED|PYTHONNOUSERSITE|SLURMD_NODENAME|TMPDIR"
)

#: Runs on the node, once a task. Apptainer reads APPTAINERENV_X as X, Singularity SINGULARITYENV_X, with and without
#: --cleanenv; --export=NIL and some modules leave an image without PATH. It ends in exec: signals find the runner.
_AT_THE_NODE = (
    "command -v {runner} >/dev/null || {{ echo 'hpc-trex: command not found on this node: {runner}; "
    "name its module in modules of the profile' >&2; exit 127; }}; "
    "[ -e {image} ] || {{ echo hpc-trex: this node does not see the image {image} >&2; exit 126; }}; "
    'for d in "${{SLURM_TMPDIR:-}}" "${{TMPDIR:-}}"; do [ ! -d "$d" ] || '
    'export {prefix}_BIND="${{{prefix}_BIND:+${prefix}_BIND,}}$d"; done; '
    'for n in $(env | sed -nE \'s/^({names})=.*/\\1/p\'); do eval "export {prefix}ENV_$n=\\"\\$$n\\""; done; '
    "export {prefix}ENV_APPEND_PATH=/usr/local/bin:/usr/bin:/bin; "
    'exec "$@"'
)

#: Runs before everything else where the profile names modules: batch shells do not always have ``module``.
_MODULE_COMMAND = (
    (
        "if ! type module >/dev/null 2>&1; then for f in /etc/profile.d/modules.sh /etc/profile.d/lmod.sh "
        '/etc/profile.d/z00_lmod.sh /etc/profile.d/00-modulepath.sh "${LMOD_PKG:-/usr/share/lmod/lmod}/init/bash" '
        '"${MODULESHOME:-/usr/share/modules}/init/bash"; do '
        '[ ! -r "$f" ] || . "$f"; ! type module >/dev/null 2>&1 || break; done; fi'
    ),
    (
        "type module >/dev/null 2>&1 || { echo 'hpc-trex: command not found on this node: module; remove modules from the "
        "profile, or source its file in setup' >&2; exit 127; }"
    ),
)

_BLOCK = 1 << 22


def setup_lines(profile: Profile) -> list[str]:
    """Return the shell lines before a job: the profile's modules, each checked, then its ``setup``."""
    if not profile.modules:
        return list(profile.setup)
    loads = [
        f"module load {shlex.quote(name)} || {{ echo 'hpc-trex: module load {_plain(name)} failed' >&2; exit 126; }}"
        for name in profile.modules
    ]
    return [*_MODULE_COMMAND, *loads, *profile.setup]


def interpreter(
    profile: Profile, folders: Iterable[Path] = (), *, workdir: Path | None = None, gpus: int = 0
) -> list[str]:
    """Return the words that start Python in a job: ``runner``, the container's words, the interpreter.

    ``folders`` become visible inside under their own paths; ``gpus``: how many the job has on a node.
    Raises :class:`UsageProblem` for a folder whose name cannot be bound.
    """
    container = profile.container
    if container is None:
        return [*profile.runner, profile.python or sys.executable]
    if container.runner == "pyxis":  # srun starts the image: srun_options
        return [*profile.runner, container.python]
    words = [container.runner, "exec"]
    words += ["--nv"] if gpus and not {"--nv", "--rocm"} & set(container.options) else []
    words += container.options
    for bind in (*container.binds, *map(str, visible(folders))):
        words += ["--bind", bind]
    words += ["--pwd", str(workdir)] if workdir is not None else []
    return [*profile.runner, "/bin/sh", "-c", _at_the_node(container, profile), "hpc-trex-container", *words,
            container.image, container.python]  # fmt: skip


def srun_options(profile: Profile, folders: Iterable[Path] = (), *, workdir: Path | None = None) -> list[str]:
    """Return what ``srun`` is told where Slurm itself starts the image (pyxis); nothing elsewhere."""
    container = profile.container
    if container is None or container.runner != "pyxis":
        return []
    mounts = [bind if ":" in bind else f"{bind}:{bind}" for bind in container.binds]
    mounts += [f"{folder}:{folder}" for folder in visible(folders)]
    options = [f"--container-image={container.image}"]
    options += [f"--container-mounts={','.join(mounts)}"] if mounts else []
    options += [f"--container-workdir={workdir}"] if workdir is not None else []
    return [*options, *container.options]


def variables(profile: Profile) -> dict[str, str]:
    """Return the variables that keep the host's Python packages out of the image: home folders are mounted in it."""
    return {"PYTHONNOUSERSITE": "1", "PYTHONPATH": ""} if profile.container else {}


def visible(folders: Iterable[Path]) -> list[Path]:
    """Return the folders to bind: absolute, none twice, none that lies in another, and where their links lead."""
    wanted: list[Path] = []
    for folder in folders:
        absolute = folder.absolute()
        wanted += [absolute, absolute.resolve()]
    for folder in wanted:
        if re.search(r"[:,\n]", str(folder)):
            raise UsageProblem(
                f"{folder} has a colon, a comma or a line break in it: a container's runner cannot bind it",
                hint="choose another folder (HPC_TREX_HOME, HPC_TREX_CACHE)",
            )
    unique = sorted(set(wanted))
    return [one for one in unique if not any(other in one.parents for other in unique)]


def check_image(profile: Profile) -> None:
    """Raise :class:`UsageProblem` when the profile's image is a file, and the file is not there."""
    container = profile.container
    if container is None or not is_file(container):
        return
    path = Path(container.image)
    if not path.is_absolute():
        raise UsageProblem(
            f"profile {profile.name}: container.image must be an absolute path, not {container.image}",
            hint="jobs do not run in the folder in which you type",
        )
    if not path.exists():
        raise UsageProblem(
            f"profile {profile.name}: the image {path} does not exist",
            hint="build it (containers/README.md), or correct container.image",
        )


def require_image(profile: Profile) -> None:
    """Raise :class:`SubmitRefused` when the image has gone since the launch: no job can start until it is back."""
    try:
        check_image(profile)
    except UsageProblem as problem:
        raise SubmitRefused(problem.message, hint=problem.hint) from problem


def is_file(container: Container) -> bool:
    """Tell whether the image is a file, not one that Slurm's pyxis takes from a registry."""
    return container.runner != "pyxis" or container.image.startswith(("/", "./", "../", "~"))


def image_digest(container: Container, cache: Path) -> str:
    """Return the image's SHA-256; empty for one in a registry, a folder, or one that is not there.

    Reading gigabytes takes a minute, so the digest is kept in the cache under the file's path, size and time of change.
    """
    path = Path(container.image)
    try:
        found = path.stat()
    except OSError:
        return ""
    if not is_file(container) or not path.is_file():
        return ""
    key = hashlib.sha256(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ino}".encode()).hexdigest()
    kept = cache / "images" / f"{key}.sha256"
    try:
        return kept.read_text(encoding="ascii").strip()
    except OSError:
        digest = _sha256(path)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(kept, digest + "\n")
    except OSError:  # a read-only cache: it is read again the next time
        return digest
    return digest


def _sha256(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            total.update(block)
    return total.hexdigest()


def _at_the_node(container: Container, profile: Profile) -> str:
    names = "|".join([_FORWARDED, *(name for name in profile.environment if name.isidentifier())])
    prefix = container.runner.upper()
    return _AT_THE_NODE.format(runner=container.runner, image=shlex.quote(container.image), prefix=prefix, names=names)


def _plain(name: str) -> str:
    """Return a module's name as it can stand between single quotes."""
    return re.sub(r"[^A-Za-z0-9._/+-]", "?", name)


def model_folders(path: str) -> list[Path]:
    """Return a model's folder and those that its files are links into (as in the Hugging Face cache)."""
    folder = Path(path)
    found = [folder]
    try:
        found += sorted({entry.resolve().parent for entry in folder.iterdir() if entry.is_symlink()})
    except OSError:  # not made yet, or not ours to read: the job will say so
        return found
    return found


def from_environment(names: Iterable[str]) -> list[Path]:
    """Return the existing folders that these variables name; several stand in one, parted by colons."""
    parts = [part for name in names for part in os.environ.get(name, "").split(os.pathsep)]
    return [Path(part) for part in parts if part and Path(part).is_dir()]
