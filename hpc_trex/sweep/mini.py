"""The sweep behind ``hpc-trex ftbench mini``: the ten built-in tasks, each with a small search that two cores bear."""

from __future__ import annotations

from typing import Any

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.mini import SUITE
from hpc_trex.models import NoiseSettings, Profile
from hpc_trex.slurm.machine import jobs_at_once
from hpc_trex.slurm.profiles import load_profile
from hpc_trex.sweep.folder import new_sweep_name
from hpc_trex.sweep.plan import element_resources, read_request
from hpc_trex.sweep.records import SweepRequest

#: Meant to take under 25 minutes with one seed on two cores.
ROUNDS, TRIALS = 3, 2
#: No repeats: they would cost as much again as the search. So one seed's choice rests on one run of each trial.
NOISE = NoiseSettings(floor_repeats=0, final_candidates=1, final_seeds=1)


def mini_request(given: dict[str, Any]) -> SweepRequest:
    """Return the request of the suite with what was typed put over it.

    On a machine without Slurm as many searches run at once as it bears; Slurm decides by itself. Raises what
    ``read_request`` and ``load_profile`` raise, and :class:`UsageProblem` for the Researcher ``llm``.
    """
    if "llm" in given.get("researchers", ()):
        raise UsageProblem(
            "ftbench mini takes no options of a language model",
            hint="hpc-trex sweep ftbench --suite ftbench-mini --researchers llm --llm-model NAME",
        )
    preset: dict[str, Any] = {
        "name": new_sweep_name(), "tasks": SUITE, "max_nodes": ROUNDS, "trials": TRIALS, "noise": NOISE,
    }  # fmt: skip
    request = read_request(None, preset | given)
    profile = load_profile(request.profile)
    if request.throttle is not None or profile.scheduler == "slurm":
        return request
    return request.model_copy(update={"throttle": _at_once(profile, request)})


def _at_once(profile: Profile, request: SweepRequest) -> int:
    elements = len(request.tasks) * len(request.seeds) * len(request.researchers) * len(request.policies)
    return max(1, min(elements, jobs_at_once(element_resources(profile, request))))
