"""Whole sweeps whose trainings do no work: real arrays, real controllers in them, milliseconds a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from hpc_trex.sweep.layout import SweepPaths
from hpc_trex.sweep.plan import create_sweep, plan_sweep
from hpc_trex.sweep.records import SweepRequest
from tests.noop import SMALL, noop_profile


def written(folder: Path, profile: object) -> str:
    """Write a profile and return its path, as a user names it."""
    body = profile.model_dump(mode="json", exclude_none=True)  # type: ignore[attr-defined]
    path = folder / f"{body.pop('name')}.toml"
    path.write_text(tomli_w.dumps(body))
    return str(path)


def profiles(folder: Path, *, scheduler: str = "slurm", **inner: object) -> dict[str, str]:
    """Return the options ``profile`` and ``inner_profile``; ``inner`` goes to ``noop_profile`` of the trainings."""
    outer = noop_profile(name="outer", scheduler=scheduler, python=None, environment={"OMP_NUM_THREADS": "1"})
    within = noop_profile(name="inner", scheduler="local", poll_seconds=0.1, train=SMALL, **inner)
    return {"profile": written(folder, outer), "inner_profile": written(folder, within)}


def noop_sweep(
    folder: Path, *, scheduler: str = "slurm", inner: dict[str, object] | None = None, **request: object
) -> SweepPaths:
    """Make the folder of a sweep, and submit nothing."""
    given = {
        "tasks": ("mini-triage",),
        "researchers": ("random",),
        "max_nodes": 1,
        "trials": 1,
        "noise": {"floor_repeats": 0, "final_candidates": 1, "final_seeds": 1},
        **profiles(folder, scheduler=scheduler, **(inner or {})),
        **request,
    }
    return create_sweep(plan_sweep(SweepRequest.model_validate(given)))


def maker(folder: Path, patch: pytest.MonkeyPatch) -> Callable[..., SweepPaths]:
    """Return what makes sweeps without Slurm in a home of the test's own."""
    patch.setenv("HPC_TREX_HOME", str(folder / "searches"))
    patch.setenv("HPC_TREX_CACHE", str(folder / "cache"))
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        patch.delenv(name, raising=False)

    def made(**request: object) -> SweepPaths:
        return noop_sweep(folder, **({"scheduler": "local"} | request))  # type: ignore[arg-type]

    return made
