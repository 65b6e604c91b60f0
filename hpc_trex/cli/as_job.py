"""The controller as a job: ``launch --as-job``, ``resume --as-job``, and what runs inside that job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hpc_trex.cli.options import emit
from hpc_trex.errors import ClusterRefused, TrexError, UsageProblem

if TYPE_CHECKING:
    from hpc_trex.layout import SearchPaths
    from hpc_trex.models import ControllerChain, SearchConfig

#: Exit codes of a controller that was told to make way: 128 and the signal's number (TERM, HUP, USR1).
MADE_WAY = frozenset({143, 129, 138})


def submitted(paths: SearchPaths, config: SearchConfig) -> int:
    """Put the search's controller job into the queue and return 0."""
    from hpc_trex.slurm.controller_job import read_chain, submit_controller, write_chain
    from hpc_trex.slurm.scheduler import SubmitRefused, SubmitUnavailable
    from hpc_trex.tree.lease import Lease

    if config.profile.scheduler != "slurm":
        raise UsageProblem(
            f"profile {config.profile.name} has no queue for a controller job (scheduler = {config.profile.scheduler!r})",
            hint="use a Slurm profile, or -d for a controller in the background",
        )
    Lease(paths).must_be_free()
    try:
        job = submit_controller(paths, config)
    except (SubmitRefused, SubmitUnavailable) as error:
        error.hint = f"{error.hint}; then: hpc-trex resume {paths.root.name} --as-job".removeprefix("; ")
        raise
    write_chain(paths, read_chain(paths).model_copy(update={"next_job": job, "message": ""}))
    name = paths.root.name
    emit(
        f"controller job {job} is in the queue; it puts its own successor there, until the search is over\n"
        f"watch: hpc-trex status {name}    pause: hpc-trex pause {name}    end: hpc-trex cancel {name}"
    )
    return 0


def run_inside(paths: SearchPaths) -> int:
    """Run the controller in its own job: successor first, then the search; return the exit code.

    Whatever ends this job, the successor goes on, unless the search is over, paused or taken by somebody else.
    """
    from hpc_trex.cli.watch import run_controller
    from hpc_trex.slurm import controller_job as jobs
    from hpc_trex.tree.store import Store

    own = os.environ.get("SLURM_JOB_ID")
    if not own:
        raise UsageProblem("--controller-job is for the controller's own job", hint="hpc-trex resume --as-job")
    with Store.read(paths) as reader:
        config = reader.config
    size = paths.events.stat().st_size
    chain = jobs.read_chain(paths)
    if not jobs.may_go_on(chain, size):
        text = f"the last {jobs.DEATHS} controller jobs died and recorded nothing, so no more are started"
        jobs.write_chain(paths, chain.model_copy(update={"message": text, "next_job": ""}))
        raise TrexError(text, hint=f"see {paths.controller}/*.out, then: hpc-trex resume {paths.root} --as-job")
    chain = jobs.begun(chain, own, os.environ.get("SLURMD_NODENAME", ""), size)
    jobs.write_chain(paths, chain)
    chain = with_successor(paths, config, chain, own)
    try:
        code = run_controller(paths, color=False)
    except TrexError as error:
        stop_chain(paths, config, jobs.ended(chain, error.message))
        raise
    if code not in MADE_WAY:
        stop_chain(paths, config, jobs.ended(chain, f"the controller ended with code {code}"))
        return code
    chain = jobs.ended(chain, "made way for its successor")
    if not chain.next_job:
        chain = with_successor(paths, config, chain, own)
    jobs.write_chain(paths, chain)
    return 0


def with_successor(paths: SearchPaths, config: SearchConfig, chain: ControllerChain, own: str) -> ControllerChain:
    """Put the next controller job into the queue; where that is refused the search goes on without, and says so."""
    from hpc_trex.slurm.controller_job import submit_controller, write_chain
    from hpc_trex.slurm.scheduler import SubmitRefused, SubmitUnavailable

    try:
        chain = chain.model_copy(update={"next_job": submit_controller(paths, config, after=own), "message": ""})
    except (SubmitRefused, SubmitUnavailable) as error:
        text = (
            f"no successor of controller job {own}: {error.message}; after it, go on with: "
            f"hpc-trex resume {paths.root.name} --as-job (from a login node)"
        )
        emit(text)
        chain = chain.model_copy(update={"message": text})
    write_chain(paths, chain)
    return chain


def stop_chain(paths: SearchPaths, config: SearchConfig, chain: ControllerChain) -> None:
    """Take the successor out of the queue: there is nothing left for it to do."""
    from hpc_trex.slurm.controller_job import cancel_controllers, write_chain

    try:
        cancel_controllers(paths, config)
    except ClusterRefused as error:
        emit(f"{error.message}; {error.hint}")  # it will find the search over, and end
        write_chain(paths, chain)
        return
    write_chain(paths, chain.model_copy(update={"next_job": ""}))
