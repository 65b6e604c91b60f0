"""Which words a site's ``sbatch`` takes: GPU spelling, type, memory, CPUs and account are tried with ``--test-only``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hpc_trex.models import Profile
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.preflight import Shape, ask_shape
from hpc_trex.slurm.scheduler import SubmitRefused

#: In order of preference: the oldest spelling is the one that most sites take.
SPELLINGS = ("gres", "gpus-per-node", "gpus")
_MOST_ACCOUNTS = 6


class Accepted(NamedTuple):
    """The profile that Slurm took, and what it said of those that it did not."""

    profile: Profile
    refused: tuple[str, ...]


def accepted(draft: Profile, accounts: list[str], *, ask: Ask = ask) -> Accepted:
    """Return the first spelling of ``draft`` whose training job Slurm takes.

    Raises :class:`SubmitRefused` with Slurm's last words when it takes none, ``SubmitUnavailable`` when it is silent.
    """
    refused: list[str] = []
    last: SubmitRefused | None = None
    bad_accounts: set[str | None] = set()
    for words, profile in _variants(draft, accounts):
        if profile.account in bad_accounts:
            continue
        try:
            ask_shape(profile, "train", ask=ask)
        except SubmitRefused as error:
            last = error
            refused.append(f"{words}: {error.message.removeprefix('Slurm refused job train: ')}")
            if ": account " in error.hint:  # no spelling mends that
                bad_accounts.add(profile.account)
            continue
        return Accepted(profile, tuple(refused))
    assert last is not None
    raise SubmitRefused(
        f"Slurm takes no training job in partition {draft.partition}, however it is spelled: {'; '.join(refused[-3:])}",
        hint=f"name another with --partition, or your project with --account ({last.hint})",
    ) from last


def _variants(draft: Profile, accounts: list[str]) -> Iterator[tuple[str, Profile]]:
    """Yield the ways to write the same request, with their names; each wish is given up only when nothing else helps."""
    gpus = bool(draft.train.gpus_per_node)
    wishes = [(True, True), (False, True), (True, False), (False, False)] if gpus else [(True, True), (False, True)]
    types = list(dict.fromkeys((draft.gpu_type, None)))
    for account in [draft.account] if draft.account else [None, *accounts[:_MOST_ACCOUNTS]]:
        for memory, cpus in wishes:
            for kind in types if gpus else [None]:
                for spelling in SPELLINGS if gpus else SPELLINGS[:1]:
                    parts = [f"{spelling} {kind or 'of any type'}"] if gpus else ["no GPU"]
                    parts += [] if memory else ["without --mem"]
                    parts += [] if cpus else ["without --cpus-per-task"]
                    parts += [f"account {account}"] if account else []
                    update = {
                        "account": account, "mem_request": memory, "cpu_request": cpus, "gpu_type": kind,
                        "gpu_request": spelling,
                    }  # fmt: skip
                    yield ", ".join(parts), draft.model_copy(update=update)


def takes(profile: Profile, shape: Shape, *, ask: Ask = ask) -> str:
    """Return Slurm's words against one of the profile's jobs; empty when it takes it."""
    try:
        ask_shape(profile, shape, ask=ask)
    except SubmitRefused as error:
        return error.message
    return ""
