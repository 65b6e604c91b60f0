"""Read what ``scontrol``, ``sinfo`` and ``sacctmgr`` tell of a cluster: text in, records out. No command is run here.

Sites print their own banners into these answers, and every release of Slurm adds keys: a line that does not fit is
passed over, an unknown key costs nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Partition, nodes, CPUs, MiB of memory, gres, state: one line for nodes that are alike.
SINFO = ("sinfo", "-a", "-h", "-e", "-o", "%R|%D|%c|%m|%T|%G")
CONFIG = ("scontrol", "show", "config")
PARTITIONS = ("scontrol", "-a", "-o", "show", "partition")
ASSOCIATIONS = "Account,Partition,QOS,DefaultQOS"

_KEY = re.compile(r"(?:^|\s)([A-Za-z][A-Za-z0-9_]*)=")
#: Words of a node's state in which it takes no jobs for longer.
_AWAY = re.compile(r"down|drain|fail|maint|unknown|inval|power", re.IGNORECASE)
_MIG = re.compile(r"\d+g\.\d+gb.*", re.IGNORECASE)
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})")


class Gres(NamedTuple):
    """One generic resource of a node, as in ``gpu:a100:4``."""

    name: str
    """``gpu``, ``shard``, ``mps``, ..."""
    type: str
    """Empty where the site names none."""
    number: int

    @property
    def is_slice(self) -> bool:
        """Tell whether it is a part of a GPU (MIG), which one training process can use and two cannot share work on."""
        return self.name == "gpu" and _MIG.search(self.type) is not None


class PartitionFacts(NamedTuple):
    """One partition as ``scontrol show partition`` tells it."""

    name: str
    default: bool
    hidden: bool
    up: bool
    root_only: bool
    needs_reservation: bool
    max_minutes: int | None
    """None: no limit."""
    default_minutes: int | None
    max_nodes: int | None
    preempt_mode: str
    tier: int
    accounts: tuple[str, ...]
    """Those that may use it; empty: all."""
    denied_accounts: tuple[str, ...]
    groups: tuple[str, ...]
    """Unix groups that may use it; empty: all."""
    qos: tuple[str, ...]


class NodeGroup(NamedTuple):
    """Nodes of one partition that are alike."""

    partition: str
    nodes: int
    cpus: int
    memory_mb: int
    state: str
    gres: tuple[Gres, ...]

    @property
    def usable(self) -> bool:
        """Tell whether these nodes take jobs."""
        return _AWAY.search(self.state) is None

    @property
    def gpus(self) -> tuple[Gres, ...]:
        """The GPUs of one node, whole ones before slices."""
        return tuple(
            sorted((one for one in self.gres if one.name == "gpu"), key=lambda one: (one.is_slice, -one.number))
        )


class Association(NamedTuple):
    """One account of the user."""

    account: str
    partition: str
    qos: tuple[str, ...]
    default_qos: str


def parse_config(text: str) -> dict[str, str]:
    """Return ``scontrol show config`` as a mapping; a value that Slurm prints as ``(null)`` is left out."""
    found = {}
    for line in text.splitlines():
        key, sign, value = line.partition("=")
        if sign and re.fullmatch(r"[A-Za-z_]\w*", key.strip()) and value.strip() not in ("", "(null)"):
            found[key.strip()] = value.strip()
    return found


def parse_partitions(text: str) -> list[PartitionFacts]:
    """Return the partitions of ``scontrol -o show partition``."""
    found = []
    for line in text.splitlines():
        keys = _pairs(line)
        if "PartitionName" not in keys:
            continue
        found.append(
            PartitionFacts(
                name=keys["PartitionName"],
                default=keys.get("Default") == "YES",
                hidden=keys.get("Hidden") == "YES",
                up=keys.get("State", "UP") == "UP",
                root_only=keys.get("RootOnly") == "YES",
                needs_reservation=keys.get("ReqResv") == "YES",
                max_minutes=parse_minutes(keys.get("MaxTime", "")),
                default_minutes=parse_minutes(keys.get("DefaultTime", "")),
                max_nodes=_number(keys.get("MaxNodes", "")),
                preempt_mode=keys.get("PreemptMode", ""),
                tier=_number(keys.get("PriorityTier", "")) or 0,
                accounts=_names(keys.get("AllowAccounts", "")),
                denied_accounts=_names(keys.get("DenyAccounts", "")),
                groups=_names(keys.get("AllowGroups", "")),
                qos=_names(keys.get("AllowQos", "")),
            )
        )
    return found


def parse_nodes(text: str) -> list[NodeGroup]:
    """Return the groups of nodes of :data:`SINFO`. A plus sign after a number says that some nodes have more."""
    found = []
    for line in text.splitlines():
        parts = line.strip().split("|", 5)
        numbers = [_number(part.rstrip("+")) for part in parts[1:4]]
        if len(parts) == 6 and parts[0] and None not in numbers:
            nodes, cpus, memory = (number or 0 for number in numbers)
            found.append(NodeGroup(parts[0], nodes, cpus, memory, parts[4].rstrip("*~#!%$@+^-"), parse_gres(parts[5])))
    return found


def parse_gres(text: str) -> tuple[Gres, ...]:
    """Read ``gpu:a100:4(S:0-1),shard:8``: name, type where there is one, count; what stands in brackets is dropped."""
    found = []
    for part in re.sub(r"\([^()]*\)", "", text).split(","):
        words = [word for word in part.strip().removeprefix("gres/").removeprefix("gres:").split(":") if word]
        if not words or not re.fullmatch(r"[A-Za-z_][\w.-]*", words[0]) or words[0] == "null":
            continue
        count, middle = 1, words[1:]
        if middle and (match := re.fullmatch(r"(\d+)([KMGT]?)", middle[-1])):
            count = int(match[1]) * 1024 ** " KMGT".index(match[2] or " ")
            middle = middle[:-1]
        middle = [word for word in middle if word != "no_consume"]
        found.append(Gres(words[0], ":".join(middle), count))
    return tuple(found)


def parse_minutes(text: str) -> int | None:
    """Return a time limit in whole minutes, as Slurm prints it (``D-HH:MM:SS``); None for none (UNLIMITED, NONE)."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    parts = [int(part) for part in match["clock"].split(":")]
    if match["days"] is not None:  # days-hours[:minutes[:seconds]]
        parts += [0] * (3 - len(parts))
    elif len(parts) == 1:
        parts = [0, parts[0], 0]
    elif len(parts) == 2:
        parts = [0, *parts]
    hours, minutes, _ = parts
    return (int(match["days"] or 0) * 24 + hours) * 60 + minutes


def parse_associations(text: str) -> list[Association]:
    """Return the rows of ``sacctmgr -n -P show assoc format=ASSOCIATIONS``, each account once a partition."""
    rows: dict[tuple[str, str], Association] = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 4 and re.fullmatch(r"[\w.@+-]+", parts[0]):
            account, partition, qos, default = parts
            rows.setdefault((account, partition), Association(account, partition, _names(qos), default))
    return list(rows.values())


def _pairs(line: str) -> dict[str, str]:
    """Split ``Key=value Key=value``; a value may hold spaces, a key may not."""
    keys = list(_KEY.finditer(line))
    ends = [match.start() for match in keys[1:]] + [len(line)]
    return {match[1]: line[match.end() : end].strip() for match, end in zip(keys, ends, strict=False)}


def _names(text: str) -> tuple[str, ...]:
    return () if text in ("", "ALL", "(null)", "N/A") else tuple(part for part in text.split(",") if part)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
