"""Profiles: found by name or path, checked with messages that name file and key, and turned into a scheduler."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.models import Container, Profile, Resources, Serving
from hpc_trex.site import site_files
from hpc_trex.slurm.environment import is_secret
from hpc_trex.slurm.scheduler import Scheduler
from hpc_trex.suggest import nearest

FOLDER = "slurm/profiles"


def list_profiles() -> dict[str, Profile]:
    """Return all profiles by name, the user's own hiding shipped ones. A broken file is an error that names it."""
    return {name: read_profile(path) for name, path in sorted(site_files(FOLDER, "*.toml").items())}


def load_profile(name_or_path: str | Path) -> Profile:
    """Return a profile by its name, or by the path of a TOML file.

    Raises :class:`NotFound` with the names that exist, :class:`UsageProblem` for a file that is not a profile.
    """
    text = str(name_or_path)
    if text.endswith(".toml") or "/" in text:
        path = Path(text).expanduser()
        if not path.is_file():
            raise NotFound(f"profile file {path} not found", hint="hpc-trex profile list")
        return read_profile(path)
    known = site_files(FOLDER, "*.toml")
    if text not in known:
        near = nearest(text, known)
        question = f"did you mean {near[0]}? " if near else ""
        raise NotFound(f"profile {text!r} not found", hint=f"{question}there are: {', '.join(sorted(known))}")
    return read_profile(known[text])


def read_profile(path: Path) -> Profile:
    """Read one profile file; its stem is the name where it gives none."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{path}: not valid TOML: {error}", hint="docs/profiles.md shows a whole profile") from error
    try:
        profile = Profile.model_validate({"name": path.stem} | raw)
    except ValidationError as error:
        raise _problem(path, error) from error
    secrets = [key for key, value in profile.environment.items() if is_secret(key, value)]
    if secrets:
        raise UsageProblem(
            f"{path}: environment.{secrets[0]} looks like a secret, and a job's script is no place for one",
            hint="remove it; jobs need no key, the controller reads its own from its environment",
        )
    return profile


def _problem(path: Path, error: ValidationError) -> UsageProblem:
    """Return the user's error for the first thing that is wrong in a file."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if place.endswith("minutes") and "." in place:
        return UsageProblem(
            f"{path}: {place} must be a whole number of minutes from 1, not {first.get('input')!r}",
            hint="there is no unlimited: such a job never starts before a maintenance (docs/profiles.md)",
        )
    if first["type"] != "extra_forbidden":
        return UsageProblem(f"{path}: {place}: {first['msg']}, not {first.get('input')!r}", hint="docs/profiles.md")
    key = str(first["loc"][-1])
    fields = list(_model_of(first["loc"]).model_fields)
    near = nearest(key, fields)
    hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(fields)}"
    return UsageProblem(f"{path}: unknown key {place}", hint=hint)


def _model_of(place: tuple[Any, ...]) -> type[BaseModel]:
    if len(place) < 2:
        return Profile
    sections: dict[str, type[BaseModel]] = {"serve": Serving, "container": Container}
    return sections.get(str(place[0]), Resources)


def _slurm(profile: Profile) -> Scheduler:
    from hpc_trex.slurm.submitit_backend import SlurmScheduler

    return SlurmScheduler(profile)


def _local(profile: Profile) -> Scheduler:
    from hpc_trex.slurm.local_backend import LocalScheduler

    return LocalScheduler(profile)


def _steps(profile: Profile) -> Scheduler:
    from hpc_trex.slurm.steps_backend import StepsScheduler

    return StepsScheduler(profile)


#: The back ends by the word in ``scheduler = "..."``.
BACK_ENDS: dict[str, Callable[[Profile], Scheduler]] = {"slurm": _slurm, "local": _local, "steps": _steps}


def make_scheduler(profile: Profile) -> Scheduler:
    """Return the back end that a profile names."""
    return BACK_ENDS[profile.scheduler](profile)
