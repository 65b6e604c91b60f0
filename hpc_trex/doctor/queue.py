"""Does Slurm answer, how fast, and would it take the profile's jobs?"""

from __future__ import annotations

import time
from pathlib import Path

from hpc_trex.doctor.check import Check, failure, ok, warning
from hpc_trex.errors import UsageProblem
from hpc_trex.models import Profile
from hpc_trex.slurm.commands import NOT_FOUND, Ask, ask
from hpc_trex.slurm.containers import check_image
from hpc_trex.slurm.preflight import SHAPES, ask_shape, check_limits
from hpc_trex.slurm.queue import SQUEUE
from hpc_trex.slurm.scheduler import SubmitRefused, SubmitUnavailable
from hpc_trex.slurm.survey import SACCT_PROBE

SLOW_SECONDS = 5.0
#: Sites answer for their queue: many end or block users who ask more often.
POLITE_SECONDS = 30.0


def check_slurm(profile: Profile, directory: Path, *, ask: Ask = ask) -> list[Check]:
    """Return a line for each of Slurm's commands that a search needs, with the time that its answer took."""
    return [*_limits(profile), _sbatch(profile, directory, ask), _squeue(ask), _sacct(profile, ask), _polling(profile)]


def _limits(profile: Profile) -> list[Check]:
    try:
        check_limits(profile)
        check_image(profile)
    except UsageProblem as problem:
        return [failure("profile", problem.message, problem.hint)]
    return []


def _sbatch(profile: Profile, directory: Path, ask: Ask) -> Check:
    begun, starts = time.monotonic(), []
    for shape in SHAPES:
        try:
            starts.append(ask_shape(profile, shape, directory, ask=ask))
        except (SubmitRefused, UsageProblem) as error:
            if shape == "controller":
                return warning(
                    "sbatch", f"the controller's own job: {error.message}", f"--as-job will not do; {error.hint}"
                )
            return failure("sbatch", f"the {shape} job: {error.message}", error.hint)
        except SubmitUnavailable as error:
            return failure("sbatch", error.message, error.hint)
    took = (time.monotonic() - begun) / len(SHAPES)
    return _timed("sbatch", f"takes all four jobs (--test-only); a training {starts[0]}", took)


def _squeue(ask: Ask) -> Check:
    begun = time.monotonic()
    answer = ask(SQUEUE)
    took = time.monotonic() - begun
    if not answer.ok:
        return failure("squeue", answer.words, "scontrol ping; a search waits until it answers")
    return _timed("squeue", f"{len(answer.out.splitlines())} jobs of yours", took)


def _sacct(profile: Profile, ask: Ask) -> Check:
    begun = time.monotonic()
    answer = ask(SACCT_PROBE)
    took = time.monotonic() - begun
    if answer.ok:
        if profile.accounting == "no":
            return ok("sacct", 'answers, and the profile says accounting = "no"', 'accounting = "auto" would use it')
        return _timed("sacct", "answers", took)
    disabled = answer.code == NOT_FOUND or "accounting storage is disabled" in answer.err.lower()
    if not disabled:
        return warning("sacct", answer.words, "a search goes on without; states of jobs that left the queue come late")
    if profile.accounting == "yes":
        return failure(
            "sacct", f'{answer.words}, and the profile says accounting = "yes"', 'accounting = "no" in the profile'
        )
    return ok("sacct", "no accounting here: states come from squeue, and from the jobs' own files")


def _polling(profile: Profile) -> Check:
    words = f"one squeue each {profile.poll_seconds:g} s, however many jobs"
    if profile.poll_seconds < POLITE_SECONDS:
        return warning("polling", words, "many sites forbid to ask so often: poll_seconds = 60 in the profile")
    return ok("polling", words)


def _timed(name: str, words: str, seconds: float) -> Check:
    found = f"{words}; {seconds:.2f} s"
    if seconds > SLOW_SECONDS:
        return warning(name, found, "Slurm is slow here: a longer poll_seconds in the profile spares it")
    return ok(name, found)
