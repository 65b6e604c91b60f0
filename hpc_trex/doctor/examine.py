"""All checks in order: the folder, this machine, Slurm, and one compute node."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hpc_trex.doctor import disks, network, sandboxes, software
from hpc_trex.doctor.check import Check, failure, ok, warning
from hpc_trex.doctor.filesystem import check_type
from hpc_trex.doctor.room import check_room
from hpc_trex.errors import TrexError
from hpc_trex.models import LlmSettings, Profile

Say = Callable[[Check], None]


def examine(
    profile: Profile,
    directory: Path,
    *,
    job: bool = True,
    wait: float = 120.0,
    llm: LlmSettings | None = None,
    say: Say,
) -> list[Check]:
    """Run all checks for searches in ``directory``; ``say`` gets each as soon as it is known.

    ``job``: submit the probe job, where the profile has a queue; it is waited for up to ``wait`` seconds.
    ``llm``: ask this language model some small questions.
    """
    checks: list[Check] = []

    def tell(found: list[Check]) -> None:
        for check in found:
            checks.append(check)
            say(check)

    slurm = profile.scheduler == "slurm"
    wanted = network.addresses()
    there = next(path for path in (directory, *directory.parents) if path.exists())
    tell([check_type(there, shared_needed=slurm)])
    tell(check_room(there))
    tell([disks.check_umask(), disks.check_parents(there)])
    with _folder(there) as folder:
        if folder is None:
            tell([failure("directory", f"{there} cannot be written", "choose another: --directory, HPC_TREX_HOME")])
        else:
            tell(_guarded("whole files", lambda: [disks.check_writes(folder)]))
            tell(_guarded("database", lambda: [disks.check_database(folder)]))
            tell(_guarded("lock test", lambda: disks.check_leases(_below(folder, "leases"))))
            tell(_guarded("clock", lambda: [disks.check_clock(folder)]))
        calls = network.Calls(wanted)  # after the two processes: no thread of ours runs while they are made
        tell([software.check_versions(slurm=slurm), software.check_runners(_runner(profile))])
        tell(_guarded("sandbox", lambda: [_sandbox(profile, here=not slurm)]))
        if slurm:
            from hpc_trex.doctor.queue import check_slurm

            tell(_guarded("Slurm", lambda: check_slurm(profile, there)))
        else:
            tell(_here(profile))
        tell(network.judge("login", calls.answers(), wanted, profile.network))
        if llm is not None:
            from hpc_trex.doctor.llm import check_agents

            tell(_guarded("LLM endpoint", lambda: check_agents(llm)))
        if slurm and job and folder is not None:
            tell(_guarded("probe job", lambda: _compute(profile, _below(folder, "probe"), wanted, wait)))
    return checks


def _compute(profile: Profile, folder: Path, wanted: dict[str, str], wait: float) -> list[Check]:
    from hpc_trex.doctor.probe import judge_disks, judge_sbatch, probe

    facts, checks = probe(profile, folder, wanted, wait=wait)
    if facts is None:
        return checks
    capability = software.capability_of(facts.gpus, facts.torch)
    return [
        *checks,
        judge_sbatch(facts),
        *judge_disks(facts),
        software.compare_versions(software.versions(), facts.versions),
        software.check_torch(facts.torch),
        software.check_gpus(facts.gpus, asked=profile.train.gpus_per_node, facts=facts.torch),
        software.check_flash(str(facts.torch.get("flash", "")), capability, str(facts.torch.get("flash_error", ""))),
        sandboxes.check_sandbox("sandbox, compute", facts.sandbox, profile, jobs=True),
        *network.judge("compute", facts.network, wanted, profile.network),
    ]


def _sandbox(profile: Profile, *, here: bool) -> Check:
    means = sandboxes.found(profile.image_of_code)
    return sandboxes.check_sandbox("sandbox" if here else "sandbox, login", means, profile, jobs=here)


def _here(profile: Profile) -> list[Check]:
    """Return what jobs on this very machine find; nothing is imported, as that takes seconds."""
    found = software.gpus()
    checks = [
        software.check_gpus(found, asked=profile.train.gpus_per_node),
        software.check_flash(software.versions().get("flash-attn", ""), software.capability_of(found)),
    ]
    if profile.scheduler == "local" and shutil.which("sbatch"):
        checks.append(
            ok(
                "Slurm",
                "is here, and this profile does not use it",
                "hpc-trex profile init, then: hpc-trex doctor --profile NAME",
            )
        )
    return checks


def _guarded(name: str, call: Callable[[], list[Check]]) -> list[Check]:
    """Return the checks; trouble that none of them expects is a line of its own, and the others go on."""
    try:
        return call()
    except TrexError as error:
        return [failure(name, error.message, error.hint or "see the message")]
    except (OSError, ValueError) as error:
        return [warning(name, f"could not be looked at: {error}", "the other lines stand; report it if it stays")]


def _runner(profile: Profile) -> str:
    return profile.container.runner if profile.container else ""


@contextmanager
def _folder(there: Path) -> Iterator[Path | None]:
    """Make a folder for the tests and remove it again; None where that is not allowed."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".hpc-trex-doctor-", dir=there))
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _below(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made
