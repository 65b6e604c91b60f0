"""The controller as a small job of its own, which keeps itself going (``launch --as-job``, docs/decisions/0008).

The first act of each controller job is to put its successor into the queue, to begin when the job is over, however it
ended: so a time limit, a failed node or a ``kill -9`` needs nobody. When the search is over the successor is cancelled.
"""

from __future__ import annotations

import os
import re
import shlex
import sys

from hpc_trex.errors import ClusterRefused
from hpc_trex.faults import reach
from hpc_trex.files import read_record, write_atomic, write_record
from hpc_trex.layout import AttemptPaths, SearchPaths
from hpc_trex.models import ControllerChain, ControllerRun, JobKind, Profile, SearchConfig
from hpc_trex.slurm import parsing
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.queue import SQUEUE
from hpc_trex.slurm.refusals import refusal
from hpc_trex.slurm.scheduler import JobRequest, JobState, SubmitUnavailable
from hpc_trex.slurm.submitit_backend import parameters

#: So many controller jobs in a row that died without a word and recorded nothing end the chain.
DEATHS = 3
#: How long before its time limit a controller job is told to hand over. It needs seconds; Slurm may be a minute early.
HAND_OVER_SECONDS = 120
_JOB_ID_LINE = re.compile(r"(\d+)(;[\w.-]+)?")


def controller_name(config: SearchConfig) -> str:
    """Return the job name of a search's controller jobs."""
    return f"{config.uid}-controller"


def render(paths: SearchPaths, config: SearchConfig, after: str | None = None) -> str:
    """Return the batch script of a controller job that begins when the job ``after`` is over."""
    from hpc_trex.slurm.executor import TrexExecutor  # submitit: 0.2 s

    profile = _profile(config.profile)
    folder = paths.controller
    request = JobRequest(controller_name(config), folder, folder / "none", JobKind.BASE, profile.controller)
    given = parameters(profile, request, AttemptPaths(folder), ":")
    given["setup"] = [line for line in given["setup"] if line != ":"]
    given.pop("srun_args", None)
    given["use_srun"] = False
    output = {name: str(folder / "%j.out") for name in ("output", "error")}
    more = {"open-mode": "append", "signal": f"B:USR1@{HAND_OVER_SECONDS}"}
    if after:
        more["dependency"] = f"afterany:{after}"
    given["additional_parameters"] = {**given["additional_parameters"], **output, **more}
    executor = TrexExecutor(folder, python="python", prefix=[], script=folder / "none")
    executor.update_parameters(**given)
    words = [sys.executable, "-u", "-m", "hpc_trex", "--no-color", "resume", str(paths.root), "--controller-job"]
    # exec: Slurm's warning goes to the batch shell, and that shell is then this program.
    return executor.text_of(f"exec {shlex.join(words)}")


def _profile(profile: Profile) -> Profile:
    """Return what a controller job asks for: no GPU, no container, its own partition."""
    return profile.model_copy(
        update={"partition": profile.controller_partition or profile.partition, "container": None, "constraint": None}
    )


def submit_controller(paths: SearchPaths, config: SearchConfig, *, after: str | None = None, ask: Ask = ask) -> str:
    """Put a controller job into the queue and return its id; one that waits already is taken as it is.

    Raises :class:`SubmitRefused` or :class:`SubmitUnavailable`, both with what Slurm said.
    """
    found = live_controllers(config, ask=ask)
    if found is None:
        raise SubmitUnavailable("squeue does not answer: is there a controller job already?", hint="scontrol ping")
    waiting = [job for job in found if job != after]
    if waiting:
        return waiting[0]
    paths.controller.mkdir(exist_ok=True)
    script = paths.controller / "job.sbatch"
    write_atomic(script, render(paths, config, after), mode=0o600)
    reach("submit/before", controller_name(config))
    answer = ask(("sbatch", "--parsable", str(script)))
    reach("submit/after", controller_name(config))
    said = f"{answer.err}\n{answer.out}".strip()
    if not answer.ok:
        raise refusal(said, answer.code, config.profile, controller_name(config))
    ids = [match[1] for line in answer.out.splitlines() if (match := _JOB_ID_LINE.fullmatch(line.strip()))]
    if len(ids) != 1:
        raise SubmitUnavailable(f"no job id in the answer of sbatch: {said[:300]!r}", hint="squeue --me")
    return ids[0]


def live_controllers(config: SearchConfig, *, ask: Ask = ask) -> list[str] | None:
    """Return the ids of this search's controller jobs that wait or run; None when Slurm does not answer."""
    answer = ask(SQUEUE)
    if not answer.ok:
        return None
    name = controller_name(config)
    rows = [row for row in parsing.parse_squeue(answer.out) if row.name == name]
    return [row.job_id for row in rows if parsing.job_state(row.state) is not JobState.ENDED]


def cancel_controllers(paths: SearchPaths, config: SearchConfig, *, ask: Ask = ask) -> list[str]:
    """End the controller jobs of a search, other than the one that this process runs in; return their ids.

    Does nothing, and asks nobody, for a search that never had one. Raises :class:`ClusterRefused` when Slurm does not
    answer: a forgotten one would set the search going again.
    """
    if not paths.controller_chain.exists():
        return []
    found = live_controllers(config, ask=ask)
    name = controller_name(config)
    if found is None:
        raise ClusterRefused("squeue does not answer, so controller jobs may wait still", hint=f"scancel --name={name}")
    others = [job for job in found if job != os.environ.get("SLURM_JOB_ID")]
    if others:
        answer = ask(("scancel", *others))
        if not answer.ok and "already" not in answer.err and "Invalid" not in answer.err:
            raise ClusterRefused(f"scancel says: {answer.words}", hint=f"scancel {' '.join(others)}")
    return others


# ---- what the chain remembers -----------------------------------------------------------------------------------------


def read_chain(paths: SearchPaths) -> ControllerChain:
    """Return what is known of a search's controller jobs; an empty chain where there was none."""
    return read_record(paths.controller_chain, ControllerChain) or ControllerChain()


def write_chain(paths: SearchPaths, chain: ControllerChain) -> None:
    """Record the chain; only the controller job that holds the lease, or the first submit, does so."""
    paths.controller.mkdir(exist_ok=True)
    write_record(paths.controller_chain, chain)


def may_go_on(chain: ControllerChain, log_bytes: int) -> bool:
    """Tell whether another controller job makes sense: not after several that died and recorded nothing.

    ``log_bytes`` is the size of the event log now.
    """
    last = chain.runs[-DEATHS:]
    return len(last) < DEATHS or any(run.ended or run.log_bytes != log_bytes for run in last)


def begun(chain: ControllerChain, job_id: str, host: str, log_bytes: int) -> ControllerChain:
    """Return the chain with one more run; only the last twenty are kept."""
    run = ControllerRun(job_id=job_id, host=host, log_bytes=log_bytes)
    return chain.model_copy(update={"runs": (*chain.runs, run)[-20:], "next_job": "", "message": ""})


def ended(chain: ControllerChain, how: str) -> ControllerChain:
    """Return the chain with how its last run ended."""
    runs = (*chain.runs[:-1], chain.runs[-1].model_copy(update={"ended": how})) if chain.runs else ()
    return chain.model_copy(update={"runs": runs})
