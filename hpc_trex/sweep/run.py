"""Start a sweep, go on with one, end one: what ``sweep launch``, ``resume`` and ``cancel`` do behind their options."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

from hpc_trex.controller.requests import Request, place
from hpc_trex.errors import ClusterRefused, NotFound
from hpc_trex.files import user_name, write_atomic
from hpc_trex.layout import SearchPaths
from hpc_trex.slurm import processes
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.queue import CHUNK
from hpc_trex.sweep.folder import arrays, held, write_config
from hpc_trex.sweep.layout import SweepPaths
from hpc_trex.sweep.local import run_here
from hpc_trex.sweep.plan import refuse_above_cap
from hpc_trex.sweep.records import AT_WORK, TO_SUBMIT, ElementState, Standing, SweepConfig
from hpc_trex.sweep.standing import standings
from hpc_trex.sweep.submit import plan_arrays, reconcile, spans, submit_arrays
from hpc_trex.tree.lease import Lease

Say = Callable[[str], None]


def go_on(
    paths: SweepPaths,
    config: SweepConfig,
    say: Say,
    *,
    only: Sequence[int] | None = None,
    gpu_hours: float | None = None,
    ask: Ask = ask,
) -> list[int]:
    """Submit the elements that are missing, failed, stopped or lost (``only``: of these, and cancelled ones too); without
    Slurm run them here. ``gpu_hours`` is a new cap, which stays. Returns their numbers.

    Raises :class:`LeaseHeld` while another process does the same, :class:`BudgetReached` when they could exceed the
    sweep's cap, :class:`NotFound` for a number that the sweep does not have, and what ``sbatch`` says.
    """
    require_numbers(config, only)
    with Lease(SearchPaths(paths.root)) as lease:
        if gpu_hours is not None:
            config = config.model_copy(update={"gpu_hours": gpu_hours})
            write_config(paths, config)
        if config.profile.scheduler == "slurm":
            reconcile(paths, say, ask=ask, keep=lease.check)
        found = standings(paths, config, ask=ask)
        refuse_silence(found)
        wanted = to_submit(found, only)
        if not wanted:
            return []
        hint = f"hpc-trex sweep resume {config.name} with a larger --gpu-hours, or with fewer elements: --only"
        refuse_above_cap(config, len(wanted), used_at_worst(paths, config, found), hint)
        for number in wanted:
            paths.element(number).cancelled.unlink(missing_ok=True)
        if config.profile.scheduler == "slurm":
            planned = plan_arrays(config, arrays(paths), found, wanted, ask=ask)
            submit_arrays(paths, config, planned, say, ask=ask, keep=lease.check)
        else:
            beside = [int(one.job_id) for one in found if one.job_id is not None]
            run_here(paths, config, wanted, say, keep=lease.check, beside=beside)
    return wanted


def to_submit(found: Sequence[Standing], only: Sequence[int] | None = None) -> list[int]:
    """Return the numbers of the elements to submit. Cancelled ones are among them only where they are named."""
    states = TO_SUBMIT if only is None else (*TO_SUBMIT, ElementState.CANCELLED)
    return [one.element.number for one in found if one.state in states and (only is None or one.element.number in only)]


def require_numbers(config: SweepConfig, numbers: Sequence[int] | None) -> None:
    """Raise :class:`NotFound` for a number that is no element's."""
    count = len(config.elements())
    wrong = [number for number in numbers or () if not 0 <= number < count]
    if wrong:
        raise NotFound(
            f"sweep {config.name} has no element {spans(wrong)}: they are 0 to {count - 1}",
            hint=f"hpc-trex sweep status {config.name} --elements",
        )


def refuse_silence(found: Sequence[Standing]) -> None:
    """Raise :class:`ClusterRefused` where it is not known whether an element is at work: it could be submitted twice."""
    unknown = [one for one in found if one.state is ElementState.UNKNOWN]
    if unknown:
        numbers = spans([one.element.number for one in unknown])
        raise ClusterRefused(
            f"how elements {numbers} stand is not known: {unknown[0].reason}",
            hint="try again when Slurm answers, on the cluster of these elements",
        )


def used_at_worst(paths: SweepPaths, config: SweepConfig, found: Sequence[Standing]) -> float:
    """Return the GPU-hours of all jobs so far, those at work counted as if they ran to their time limit."""
    live = [one.element.number for one in found if one.state in AT_WORK]
    gone = [one.element.number for one in found if one.state not in AT_WORK]
    # The run that is at work stands in the records as well, so the sum is a little too high: on the safe side of a cap.
    return held(paths, [*gone, *live])[0] + len(live) * config.element_gpu_hours


def cancel(
    paths: SweepPaths, config: SweepConfig, say: Say, *, only: Sequence[int] | None = None, ask: Ask = ask
) -> list[int]:
    """End the elements that are not over (``only``: of these), for good, and return their numbers.

    Each is marked first, so that a job of it that starts later leaves at once, and ``resume`` passes it over. Raises
    :class:`ClusterRefused` when Slurm cannot be asked to end them: the marks stand, so the same command again does it.
    """
    require_numbers(config, only)
    found = [
        one
        for one in standings(paths, config, only, ask=ask)
        if one.state not in (ElementState.DONE, ElementState.CANCELLED)
    ]
    for one in found:
        mark = paths.element(one.element.number).cancelled
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(mark, "by the user: hpc-trex sweep cancel\n")
    jobs = [one.job_id for one in found if one.job_id is not None]
    if config.profile.scheduler == "slurm":
        _scancel(jobs, ask)
    else:
        for job in jobs:
            process = processes.read(int(job))
            if process is not None:
                processes.send(process, signal.SIGTERM)
    asked = [one.element.number for one in found if one.state is ElementState.RUNNING and one.job_id is None]
    for number in asked:  # nobody here knows its job: its controller ends the search at its next tick
        place(SearchPaths(paths.element(number).search), Request(action="cancel", user=user_name()))
    numbers = [one.element.number for one in found]
    say(
        f"{len(numbers)} element(s) cancelled"
        + (f": {spans(numbers)}; {len(jobs)} job(s) told to end" if found else "")
    )
    if asked:
        say(f"elements {spans(asked)} run in jobs that are not known here: their searches are asked to end")
    unknown = [one for one in found if one.state is ElementState.UNKNOWN]
    if unknown:
        raise ClusterRefused(
            f"{len(unknown)} job(s) may run on: {unknown[0].reason}",
            hint=f"again, when Slurm answers, on the cluster of these elements: hpc-trex sweep cancel {config.name}",
        )
    return numbers


def _scancel(jobs: Sequence[str], ask: Ask) -> None:
    for start in range(0, len(jobs), CHUNK):
        answer = ask(("scancel", *jobs[start : start + CHUNK]))
        if not answer.ok and "already" not in answer.err and "Invalid job id" not in answer.err:
            raise ClusterRefused(f"scancel says: {answer.words}", hint="scancel " + " ".join(jobs))
