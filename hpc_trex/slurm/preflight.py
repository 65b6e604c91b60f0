"""Would Slurm take these jobs? Asked with ``sbatch --test-only`` of the very scripts that would be submitted.

Slurm does not look at everything then: without ``EnforcePartLimits`` it takes a job that asks for more time than its
partition gives, and lets it wait for ever. So a profile's own limits are looked at first, by :func:`check_limits`.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.layout import SearchPaths, home
from hpc_trex.models import JobKind, Profile, Resources, SearchConfig
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.refusals import refusal
from hpc_trex.slurm.scheduler import JobRequest, SubmitRefused, SubmitUnavailable

Shape = Literal["train", "prepare", "evaluate", "controller", "serve"]
SHAPES: tuple[Shape, ...] = ("train", "prepare", "evaluate", "controller")
_KINDS: dict[Shape, JobKind] = {
    "train": JobKind.TRAIN, "prepare": JobKind.PREPARE, "evaluate": JobKind.BASELINE,
    "serve": JobKind.BASE,
}  # fmt: skip
_START = re.compile(r"to start at (?P<start>\S+)(?: using (?P<cpus>\d+) processors)?(?: on nodes (?P<nodes>\S+))?")


class Estimate(NamedTuple):
    """Slurm's answer to ``--test-only``: when the job would start if nothing else came, and where."""

    start: str
    """Slurm's own local time; empty where it gives none."""
    nodes: str = ""

    def __str__(self) -> str:
        at = f"would start at {self.start}" if self.start else "would be taken"
        return at + (f" on {self.nodes}" if self.nodes else "")


def check_limits(profile: Profile, shapes: Iterable[Shape] = SHAPES) -> None:
    """Raise :class:`UsageProblem` for a job that the profile's own limits do not allow. Slurm is not asked."""
    for shape in shapes:
        wanted = resources(profile, shape)
        most, gpus = profile.max_minutes, profile.gpus_on_a_node
        if most is not None and wanted.minutes > most:
            raise UsageProblem(
                f"profile {profile.name}: {shape}.minutes = {wanted.minutes}, and its partition takes jobs of at most "
                f"{most} minutes (max_minutes)",
                hint=f"{shape}.minutes = {most} or less: a job that reaches its limit saves a checkpoint, and the next "
                "one goes on",
            )
        if gpus is not None and wanted.gpus_per_node > gpus:
            raise UsageProblem(
                f"profile {profile.name}: {shape}.gpus_per_node = {wanted.gpus_per_node}, and the largest node of its "
                f"partition has {gpus} (gpus_on_a_node)",
                hint=f"{shape}.gpus_per_node = {gpus} or less; more nodes ({shape}.nodes) give more GPUs"
                if gpus
                else "name a partition with GPUs: sinfo -o '%P %G'",
            )


def resources(profile: Profile, shape: Shape) -> Resources:
    """Return what a job of that shape asks for."""
    found: Resources | None = getattr(profile, shape)
    return found or profile.train


def test_only(profile: Profile, request: JobRequest, *, ask: Ask = ask) -> Estimate:  # noqa: PT028 # no test of pytest
    """Ask Slurm about one job as it would be submitted; nothing is submitted or kept.

    Raises :class:`SubmitRefused` with the profile's key to correct, :class:`SubmitUnavailable` when Slurm does not
    answer or takes nothing just now.
    """
    from hpc_trex.slurm.submitit_backend import SlurmScheduler  # submitit: 0.2 s

    return ask_script(SlurmScheduler(profile).render(request), profile, request.token, ask=ask)


def ask_shape(profile: Profile, shape: Shape, directory: Path | None = None, *, ask: Ask = ask) -> Estimate:
    """Ask Slurm about one of the profile's four jobs; ``directory`` is where the search would stand.

    Raises as :func:`test_only` does; the hint names the keys of this shape.
    """
    directory = directory or home() / "check"
    try:
        if shape == "controller":
            return ask_script(_controller(profile, directory), profile, "controller", ask=ask)
        request = JobRequest(shape, directory, directory / "spec.json", _KINDS[shape], resources(profile, shape))
        return test_only(profile, request, ask=ask)
    except SubmitRefused as error:
        hint = error.hint.replace("train.minutes (or prepare, evaluate)", "train.minutes").replace(
            "train.", f"{shape}."
        )
        if shape == "controller":
            hint += "; controller_partition names one for jobs without GPUs"
        raise SubmitRefused(error.message, hint=hint) from error


def ask_script(script: str, profile: Profile, token: str, *, ask: Ask = ask) -> Estimate:
    """Ask Slurm about a batch script. Raises as :func:`test_only` does."""
    with tempfile.NamedTemporaryFile("w", prefix="hpc-trex-", suffix=".sbatch", encoding="utf-8") as file:
        file.write(script)
        file.flush()
        answer = ask(("sbatch", "--test-only", file.name))
    said = f"{answer.err}\n{answer.out}".strip()
    if not answer.ok:
        raise refusal(said, answer.code, profile, token)
    return parse_estimate(said)


def parse_estimate(text: str) -> Estimate:
    """Read ``sbatch: Job 7 to start at 2026-11-23T21:10:19 using 2 processors on nodes trex1 in partition main``."""
    match = _START.search(text)
    return Estimate(match["start"], match["nodes"] or "") if match else Estimate("")


def preflight(
    profile: Profile, directory: Path, shapes: tuple[Shape, ...] = ("train", "evaluate"), *, ask: Ask = ask
) -> list[str]:
    """Check what would run first before anything is made; return what a person should know, a line each.

    Raises :class:`UsageProblem` for what the profile itself forbids, :class:`SubmitRefused` for what Slurm does. A
    Slurm that does not answer is a warning: the search waits for it.
    """
    check_limits(profile)
    if profile.scheduler != "slurm":
        return []
    if shutil.which("sbatch") is None:
        return ["warning: sbatch is not here, so Slurm could not be asked about these jobs"]
    lines = []
    for shape in shapes:
        try:
            estimate = ask_shape(profile, shape, directory, ask=ask)
        except SubmitUnavailable as error:
            return [f"warning: {error.message}"]
        lines.append(f"a job to {shape:<8} {estimate}")
    return [f"Slurm says  {line}" for line in lines]


def _controller(profile: Profile, directory: Path) -> str:
    from hpc_trex.slurm.controller_job import render  # the real one, of a search that does not exist

    config = SearchConfig(name="check", uid="trex-check", task="check", model="check", profile=profile)
    return render(SearchPaths(directory), config)
