"""Which partition, which nodes, which sizes: the rules by which ``profile init`` turns a survey into a first profile.

The rules are few and can be said in a sentence, so that a person can see why and choose otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

from hpc_trex.errors import NotFound
from hpc_trex.models import Resources
from hpc_trex.slurm.facts import Gres, NodeGroup, PartitionFacts
from hpc_trex.slurm.survey import Survey
from hpc_trex.suggest import nearest

#: A job of no limit, or of weeks, never starts before a maintenance: then a day is asked for at most.
LONGEST_MINUTES = 14 * 24 * 60
A_DAY = 24 * 60
TRAIN_MINUTES, SHORT_MINUTES, CONTROLLER_MINUTES = 240, 60, 720
#: A partition with a shorter limit is for trying things out.
_DEBUG_MINUTES = 60
#: More CPUs than this do nothing for one training process.
_MOST_CPUS = 16
#: Nodes keep some of their memory for the system.
_MEMORY_SHARE = 0.9


class Choice(NamedTuple):
    """A partition, and the kind of its nodes that jobs are measured by."""

    facts: PartitionFacts
    groups: tuple[NodeGroup, ...]
    """Its usable nodes that have the chosen GPU; all usable ones where it has none."""
    gpu: Gres | None
    why: str

    @property
    def gpus_on_a_node(self) -> int:
        """GPUs of the chosen type on the node that has most."""
        return max((_count(group, self.gpu) for group in self.groups), default=0) if self.gpu else 0

    @property
    def max_minutes(self) -> int:
        """The longest job; a day where the partition has no limit worth the name."""
        limit = self.facts.max_minutes
        return A_DAY if limit is None or limit > LONGEST_MINUTES else max(1, limit)


def choose(survey: Survey, wanted: str | None = None) -> Choice:
    """Return the partition to use: the wanted one, else the best. Raises :class:`NotFound` naming those there are."""
    if wanted is not None:
        found = next((one for one in survey.partitions if one.name == wanted), None)
        if found is None:
            names = [one.name for one in survey.partitions]
            near = nearest(wanted, names)
            question = f"did you mean {near[0]}? " if near else ""
            raise NotFound(f"the cluster has no partition {wanted}", hint=f"{question}there are: {', '.join(names)}")
        return _measured(survey, found, "named with --partition")
    open_ones = [one for one in survey.partitions if not closed(survey, one)] or survey.partitions
    best = max(open_ones, key=lambda one: _rank(survey, one))
    if not gpus_of(survey, best.name):
        return _measured(survey, best, "no partition open to you shows GPUs")
    if best.default:
        return _measured(survey, best, "the default partition, and it has GPUs")
    return _measured(
        survey, best, "most GPUs of those open to you, not for short tests only, not preempted if possible"
    )


def closed(survey: Survey, one: PartitionFacts) -> str:
    """Return in a word why a partition is not for this user; empty where it is."""
    ours = {row.account for row in survey.associations}
    if not one.up:
        return "not up"
    if one.hidden:
        return "hidden"
    if one.root_only or one.needs_reservation:
        return "root only" if one.root_only else "needs a reservation"
    if one.groups and survey.groups and not set(one.groups) & set(survey.groups):
        return "for other groups"
    if ours and ((one.accounts and not ours & set(one.accounts)) or ours <= set(one.denied_accounts)):
        return "for other accounts"
    return ""


def preemptible(survey: Survey, one: PartitionFacts) -> bool:
    """Tell whether jobs of this partition may be ended for those of another: by its own mode and a higher tier."""
    mode = one.preempt_mode or survey.config.get("PreemptMode", "OFF")
    if mode.upper().split(",")[0] in ("OFF", "DISABLED", ""):
        return False
    if "partition_prio" not in survey.config.get("PreemptType", ""):
        return "qos" in survey.config.get("PreemptType", "")
    return any(other.tier > one.tier for other in survey.partitions)


def gpus_of(survey: Survey, partition: str) -> int:
    """Return how many whole GPUs a partition's usable nodes have together; its slices where it has no others."""
    groups = [group for group in survey.nodes if group.partition == partition and group.usable]
    whole = sum(group.nodes * gpu.number for group in groups for gpu in group.gpus if not gpu.is_slice)
    return whole or sum(group.nodes * gpu.number for group in groups for gpu in group.gpus)


def for_controller(survey: Survey, choice: Choice) -> list[str]:
    """Return the partitions where a small job without GPUs could go, best first; the chosen one stands last."""
    others = [
        one
        for one in survey.partitions
        if not closed(survey, one)
        and not gpus_of(survey, one.name)
        and any(group.partition == one.name and group.usable for group in survey.nodes)
    ]
    others.sort(key=lambda one: (not preemptible(survey, one), one.default, one.max_minutes or A_DAY), reverse=True)
    return [*(one.name for one in others if one.name != choice.facts.name), choice.facts.name]


def sizes(choice: Choice) -> dict[str, Resources]:
    """Return what each kind of job asks for: a GPU's share of its node's CPUs and memory."""
    limit = choice.max_minutes
    shares = [max(1, _count(group, choice.gpu)) for group in choice.groups] if choice.gpu else [4] * len(choice.groups)
    pairs = list(zip(choice.groups, shares, strict=True))
    cpus = max(1, min([_MOST_CPUS, *(group.cpus // share for group, share in pairs)]))
    memory = min([group.memory_mb / 1024 / share for group, share in pairs], default=8.0)
    gb = float(max(1, int(memory * _MEMORY_SHARE)))
    small = Resources(cpus_per_task=min(4, cpus), mem_gb=min(16.0, gb), minutes=min(SHORT_MINUTES, limit))
    one = Resources(
        gpus_per_node=1 if choice.gpu else 0, cpus_per_task=cpus, mem_gb=gb, minutes=min(TRAIN_MINUTES, limit)
    )
    return {
        "train": one,
        "prepare": small,
        "evaluate": one.model_copy(update={"minutes": min(SHORT_MINUTES, limit)}),
        "controller": Resources(mem_gb=2.0, minutes=min(CONTROLLER_MINUTES, limit)),
    }


def types_of(survey: Survey, partition: str) -> list[str]:
    """Return the names of the GPUs of a partition, most first; an untyped one is an empty name."""
    totals: dict[str, int] = {}
    for group in survey.nodes:
        if group.partition == partition:
            for gpu in group.gpus:
                totals[gpu.type] = totals.get(gpu.type, 0) + gpu.number * group.nodes
    return sorted(totals, key=lambda name: -totals[name])


def _rank(survey: Survey, one: PartitionFacts) -> tuple[bool, bool, bool, bool, int, int]:
    count, minutes = gpus_of(survey, one.name), one.max_minutes
    lasting = minutes is None or minutes >= _DEBUG_MINUTES
    steady = not preemptible(survey, one)
    return count > 0, lasting, count > 0 and one.default, steady, count, minutes or LONGEST_MINUTES


def _measured(survey: Survey, found: PartitionFacts, why: str) -> Choice:
    groups = [group for group in survey.nodes if group.partition == found.name]
    groups = [group for group in groups if group.usable] or groups
    totals: dict[tuple[bool, str], int] = {}
    for group in groups:
        for gpu in group.gpus:
            key = (not gpu.is_slice, gpu.type)
            totals[key] = totals.get(key, 0) + gpu.number * group.nodes
    if not totals:
        return Choice(found, tuple(groups), None, why)
    _, kind = max(totals, key=lambda key: (key[0], totals[key]))
    having = tuple(group for group in groups if any(gpu.type == kind for gpu in group.gpus))
    gpu = next(one for one in having[0].gpus if one.type == kind)
    return Choice(found, having, gpu, why)


def _count(group: NodeGroup, gpu: Gres | None) -> int:
    return sum(one.number for one in group.gpus if gpu is not None and one.type == gpu.type)
