"""Ask a live cluster what it is: four questions, read by :mod:`hpc_trex.slurm.facts`."""

from __future__ import annotations

import grp
import os
from typing import Literal, NamedTuple

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.files import user_name
from hpc_trex.slurm import facts
from hpc_trex.slurm.commands import NOT_FOUND, Ask, ask

SACCT_PROBE = ("sacct", "-n", "-X", "-P", "-S", "now", "-o", "JobIDRaw")


class Survey(NamedTuple):
    """What a cluster says of itself."""

    config: dict[str, str]
    partitions: list[facts.PartitionFacts]
    nodes: list[facts.NodeGroup]
    associations: list[facts.Association]
    accounting: Literal["auto", "yes", "no"]
    groups: tuple[str, ...] = ()
    """Our own unix groups; empty where they have no names."""

    @property
    def cluster(self) -> str:
        """Return the cluster's name."""
        return self.config.get("ClusterName", "cluster")

    @property
    def max_array(self) -> int | None:
        """Return MaxArraySize; None where Slurm does not tell."""
        text = self.config.get("MaxArraySize", "")
        return int(text) if text.isdigit() and int(text) > 0 else None


def survey(*, ask: Ask = ask) -> Survey:
    """Return what the cluster says. Raises :class:`EnvironmentProblem` where there is no Slurm, or it does not answer."""
    config = ask(facts.CONFIG)
    if config.code == NOT_FOUND:
        raise EnvironmentProblem(
            "there is no Slurm here: scontrol: command not found",
            hint="type it on a login node of the cluster; some sites want: module load slurm",
        )
    if not config.ok:
        raise EnvironmentProblem(
            f"Slurm does not answer: {config.words}", hint="scontrol ping; try again when it answers"
        )
    partitions = facts.parse_partitions(ask(facts.PARTITIONS).out)
    nodes = facts.parse_nodes(ask(facts.SINFO).out)
    if not partitions:
        raise EnvironmentProblem(
            "Slurm shows no partition to you", hint="ask the site's support which partition is yours; sinfo -a"
        )
    rows = ask(("sacctmgr", "-n", "-P", "show", "assoc", f"user={user_name()}", f"format={facts.ASSOCIATIONS}"))
    return Survey(
        facts.parse_config(config.out),
        partitions,
        nodes,
        facts.parse_associations(rows.out) if rows.ok else [],
        accounting(ask=ask),
        _groups(),
    )


def accounting(*, ask: Ask = ask) -> Literal["auto", "yes", "no"]:
    """Return whether ``sacct`` answers; ``auto`` where it failed in a way that may pass."""
    answer = ask(SACCT_PROBE)
    if answer.ok:
        return "yes"
    disabled = "accounting storage is disabled" in f"{answer.err}{answer.out}".lower()
    return "no" if disabled or answer.code == NOT_FOUND else "auto"


def _groups() -> tuple[str, ...]:
    names = []
    for number in {os.getegid(), *os.getgroups()}:
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return tuple(names)
