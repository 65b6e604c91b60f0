"""The sweep's folder: find it, read its frozen configuration and records, list the sweeps there are."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

import tomli_w
from pydantic import ValidationError

from hpc_trex.errors import EnvironmentProblem, NotFound
from hpc_trex.files import read_record, write_atomic
from hpc_trex.suggest import did_you_mean
from hpc_trex.sweep.layout import SweepPaths, sweeps_home
from hpc_trex.sweep.records import ArrayRecord, ElementResult, RunRecord, SweepConfig


def list_sweeps(root: Path | None = None) -> list[SweepPaths]:
    """Return the sweeps under ``root`` (default: home), the newest first."""
    found = [(path.stat().st_mtime_ns, path.parent) for path in (root or sweeps_home()).glob("*/sweep.toml")]
    return [SweepPaths(folder) for _, folder in sorted(found, reverse=True)]


def find_sweep(reference: str | None = None) -> SweepPaths:
    """Return the sweep with this name or path; without one, the newest. Raises :class:`NotFound`."""
    known = list_sweeps()
    if reference is None:
        if known:
            return known[0]
        raise NotFound(f"no sweep in {sweeps_home()}", hint="start one with: hpc-trex sweep launch")
    typed = Path(reference).expanduser()
    for folder in [typed] if "/" in reference or reference in {".", ".."} else [sweeps_home() / reference, typed]:
        if (folder / "sweep.toml").is_file():
            return SweepPaths(folder.absolute())
    names = [paths.root.name for paths in known]
    listed = f"sweeps in {sweeps_home()}: {', '.join(names[:8])}" if names else "hpc-trex sweep launch starts one"
    raise NotFound(f"no sweep {reference!r}{did_you_mean(reference, names)}", hint=listed)


def new_sweep_name(root: Path | None = None) -> str:
    """Return the next free name: ``sweep-1``, ``sweep-2`` ..."""
    parent = root or sweeps_home()
    taken = {path.name for path in parent.iterdir()} if parent.is_dir() else set()
    number = 1
    while f"sweep-{number}" in taken:
        number += 1
    return f"sweep-{number}"


def read_config(paths: SweepPaths) -> SweepConfig:
    """Return the frozen sweep. Raises :class:`EnvironmentProblem` when its file was damaged."""
    try:
        return SweepConfig.model_validate(tomllib.loads(paths.config.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError, OSError) as error:
        first = str(error).splitlines()[0]
        raise EnvironmentProblem(
            f"{paths.config} cannot be read: {first}", hint="it is not to be edited; restore it, or launch a new sweep"
        ) from error


def write_config(paths: SweepPaths, config: SweepConfig) -> None:
    """Write the frozen sweep, readable as the umask says: a group may share it."""
    write_atomic(paths.config, tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))


def knowledge_file(paths: SweepPaths, task: int, model: int) -> Path:
    """Return the file with what the searches of one task and model start from."""
    return paths.task(task) / f"knowledge-{model:02d}.json"


def arrays(paths: SweepPaths) -> list[ArrayRecord]:
    """Return the records of all arrays, the given-up ones too, in order."""
    found = [read_record(path, ArrayRecord) for path in sorted((paths.root / "arrays").glob("*/array.json"))]
    return [record for record in found if record is not None]


def runs(paths: SweepPaths, number: int) -> list[RunRecord]:
    """Return the runs of an element, in the order in which they began."""
    files = (paths.element(number).root / "runs").glob("*.json")
    found = [record for record in (read_record(path, RunRecord) for path in files) if record is not None]
    return sorted(found, key=lambda record: (record.began, record.token))


def result(paths: SweepPaths, number: int) -> ElementResult | None:
    """Return what came of an element; None while it has left nothing."""
    return read_record(paths.element(number).result, ElementResult)


def held(paths: SweepPaths, numbers: Iterable[int]) -> tuple[float, float]:
    """Return the GPU-hours and CPU-hours that the jobs of these elements have held so far."""
    gpu = cpu = 0.0
    for number in numbers:
        for record in runs(paths, number):
            gpu += record.gpus * record.seconds / 3600
            cpu += record.cpus * record.seconds / 3600
    return gpu, cpu
