"""The batch script of an array and its submission: the parameters of any other job, with ``--array`` and another command.

submitit's own ``map_array`` makes executors by name, so that everything of ours is lost in it, and pickles a function for each
element (docs/decisions/0009). The element's command is one line. It replaces the batch shell (``exec``), so that
Slurm's warning (``--signal=B:``) reaches the element's controller and not the trainings below it.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

from hpc_trex.errors import ClusterRefused, UsageProblem
from hpc_trex.files import write_atomic
from hpc_trex.layout import AttemptPaths, cache
from hpc_trex.models import JobKind, Profile
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.containers import from_environment, interpreter, model_folders, srun_options
from hpc_trex.slurm.preflight import ask_script
from hpc_trex.slurm.refusals import refusal
from hpc_trex.slurm.scheduler import JobRequest, SubmitUnavailable
from hpc_trex.slurm.submitit_backend import parameters, step_options
from hpc_trex.sweep.asking import key_files
from hpc_trex.sweep.chunks import Chunk
from hpc_trex.sweep.layout import ArrayPaths, SweepPaths
from hpc_trex.sweep.records import ArrayRecord, SweepConfig

#: Slurm's default of MaxArraySize, where it cannot be asked (a dry run on a machine without Slurm).
USUAL_ARRAY = 1001
_JOB_ID_LINE = re.compile(r"(\d+)(;[\w.-]+)?")


def array_cap(config: SweepConfig, *, ask: Ask = ask) -> int:
    """Return how many elements an array may hold: the profile's ``max_array``, else what Slurm says, and the chunk size.

    Raises :class:`ClusterRefused` where the site has switched arrays off.
    """
    cap = config.profile.max_array or _asked_cap(ask)
    if cap < 1:
        raise ClusterRefused(
            "this cluster takes no arrays (MaxArraySize is 0)", hint="start the searches one by one: hpc-trex launch"
        )
    return min(cap, config.chunk or cap)


def _asked_cap(ask: Ask) -> int:
    answer = ask(("scontrol", "show", "config"))
    if not answer.ok:
        return USUAL_ARRAY
    found = [re.search(pattern, answer.out) for pattern in (r"MaxArraySize\s*=\s*(\d+)", r"max_array_tasks=(\d+)")]
    limits = [int(match[1]) for match in found if match is not None]
    return min(limits) if limits else USUAL_ARRAY


def render(paths: SweepPaths, config: SweepConfig, record: ArrayRecord, chunk: Chunk) -> str:
    """Return the batch script of an array; nothing is written and Slurm is not needed."""
    from hpc_trex.slurm.executor import TrexExecutor  # submitit: 0.2 s

    array = paths.array(record.number)
    _must_be_plain(array.root)
    executor = TrexExecutor(array.root, python="python", prefix=[], script=array.script)
    executor.update_parameters(**_parameters(array, config, record, chunk))
    return executor.text_of(_command(paths, config, record))


def _parameters(array: ArrayPaths, config: SweepConfig, record: ArrayRecord, chunk: Chunk) -> dict[str, Any]:
    profile = config.profile
    request = JobRequest(record.token, array.root, array.record, JobKind.TRAIN, config.resources)
    given = parameters(profile, request, AttemptPaths(array.root), ":")
    given["setup"] = [line for line in given["setup"] if line != ":"]
    given.pop("srun_args", None)
    given["use_srun"] = False
    output = {"output": str(array.output), "error": str(array.output), "open-mode": "append"}
    more = {"array": chunk.indices, "signal": f"B:USR1@{profile.signal_seconds}"}
    if record.after:
        more["dependency"] = "afterany:" + ":".join(record.after)
    given["additional_parameters"] = {**given["additional_parameters"], **output, **more}
    return given


def _command(paths: SweepPaths, config: SweepConfig, record: ArrayRecord) -> str:
    profile = config.profile
    folders = [paths.root, cache(), *from_environment(["HPC_TREX_SITE", "HF_HOME"])]
    folders += [folder for model in config.all_models if model.path for folder in model_folders(model.path)]
    folders += [Path(file) for file in key_files(config)]
    folders += [Path(config.knowledge).parent] if config.knowledge else []
    python = interpreter(profile, folders, workdir=paths.root, gpus=config.resources.gpus_per_node)
    inside = srun_options(profile, folders, workdir=paths.root)
    steps = ["srun", "--ntasks=1", *step_options(profile, config.resources), *inside] if inside else []
    words = [*steps, *python, "-u", "-m", "hpc_trex", "sweep", "element", str(paths.root)]
    return f'exec {shlex.join(words)} "$SLURM_ARRAY_TASK_ID" --array {record.number}'


def _must_be_plain(folder: Path) -> None:
    for sign, name in (("%", "a percent sign"), ("\\", "a backslash"), ("\n", "a line break")):
        if sign in str(folder):
            raise UsageProblem(
                f"{folder} has {name} in it, which Slurm would expand in the names of output files",
                hint="choose another folder (HPC_TREX_HOME)",
            )


def ask_slurm(paths: SweepPaths, config: SweepConfig, *, ask: Ask = ask) -> str:
    """Ask Slurm whether it would take an element, and return what it says, in a line. Nothing is submitted.

    Raises :class:`SubmitRefused` for what it would refuse; a Slurm that does not answer is told, and no reason to stop.
    """
    if shutil.which("sbatch") is None:
        return "warning: sbatch is not here, so Slurm could not be asked about an element"
    record = ArrayRecord(number=1, token=f"{config.uid}-a1", elements=(0,))
    text = render(paths, config, record, Chunk((0,), None, waits=False))
    try:
        return f"Slurm says an element {ask_script(text, config.profile, record.token, ask=ask)}"
    except SubmitUnavailable as error:
        return f"warning: {error.message}"


def sbatch(paths: SweepPaths, profile: Profile, record: ArrayRecord, text: str, *, ask: Ask = ask) -> str:
    """Submit an array and return its job id. Raises :class:`SubmitUnavailable` or :class:`SubmitRefused`."""
    script = paths.array(record.number).script
    write_atomic(script, text)  # readable as the sweep is: the umask decides
    answer = ask(("sbatch", "--parsable", str(script)))
    said = f"{answer.err}\n{answer.out}".strip()
    if not answer.ok:
        raise refusal(said, answer.code, profile, record.token)
    lines = [_JOB_ID_LINE.fullmatch(line.strip()) for line in answer.out.splitlines()]
    ids = [match[1] for match in lines if match is not None]
    if len(ids) != 1:  # a banner without the id, or with a number of its own: Slurm is asked by the name
        raise SubmitUnavailable(
            f"array {record.token}: no job id in the answer of sbatch: {said[:300]!r}", hint="squeue --me"
        )
    return ids[0]
