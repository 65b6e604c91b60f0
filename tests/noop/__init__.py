"""Whole searches whose jobs do no work: real submission, real Slurm, real files, milliseconds a job."""

from __future__ import annotations

from pathlib import Path

from hpc_trex.controller import Controller
from hpc_trex.launch import LaunchOptions, create_search, plan_launch
from hpc_trex.layout import SearchPaths
from hpc_trex.models import NoiseSettings, PolicySettings, Profile, Resources

PYTHON = Path(__file__).parent / "python"
SMALL = Resources(cpus_per_task=1, mem_gb=0.05, minutes=5)


def noop_profile(
    *, seconds: float = 0.0, starts: Path | None = None, until: Path | None = None, **changes: object
) -> Profile:
    """Return a profile of the test cluster whose jobs take no work; ``seconds``: how long a training sleeps.

    ``until``: trainings do not end before this file is there. A test that must act while they run is not hurried by them.
    """
    files = {"TREX_NOOP_STARTS": starts, "TREX_NOOP_UNTIL": until}
    environment = {"TREX_NOOP_SECONDS": str(seconds)} | {name: str(path) for name, path in files.items() if path}
    given: dict[str, object] = {
        "name": "noop",
        "scheduler": "slurm",
        "python": str(PYTHON),
        "train": SMALL,
        "prepare": SMALL,
        "evaluate": SMALL,
        "poll_seconds": 0.5,
        "parallel": 8,
        "environment": environment,
    }
    return Profile.model_validate(given | changes)


def noop_search(home: Path, profile: Profile, *, name: str = "noop", **options: object) -> SearchPaths:
    """Create a search of the default task on that profile; the controller's part is the real one.

    ``options`` are those of LaunchOptions. No base model is trained, the noise floor is not measured, and the policy is
    one that does not depend on the order in which results come in.
    """
    model = home / "no-model"
    model.mkdir(parents=True, exist_ok=True)
    wanted = {
        "name": name,
        "directory": str(home / name),
        "max_nodes": 2,
        "trials": 2,
        "researcher": "random",
    } | options
    plan = plan_launch(LaunchOptions.model_validate(wanted))
    config = plan.config.model_copy(
        update={
            "profile": profile,
            "model_path": str(model),
            "parallel": wanted.get("parallel") or profile.parallel or 4,
            "noise": NoiseSettings(floor_repeats=0, final_candidates=1, final_seeds=1),
            "policy": PolicySettings(name="sequential"),
        }
    )
    return create_search(plan._replace(config=config))


def finish(paths: SearchPaths) -> str:
    """Run a controller in this process to the end of the search and return its last state."""
    with Controller(paths) as controller:
        return controller.run(lambda report: None).value
