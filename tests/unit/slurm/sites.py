"""Clusters of other shapes, as their commands print them: no Slurm is needed to ask them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from hpc_trex.slurm.commands import NOT_FOUND, Answer

CONFIG = """Configuration data as of 2026-11-02T09:00:00
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = {cluster}
MaxArraySize            = {array}
PreemptMode             = {mode}
PreemptType             = {kind}
SLURM_VERSION           = 24.11.3
DefMemPerNode           = (null)

Slurmctld(primary) at ctl is UP
"""
NOTHING = Answer(0, "", "")
REFUSED = "sbatch: error: Batch job submission failed: {}\nallocation failure: {}\n"


def partition(name: str, **changes: object) -> str:
    """One line of ``scontrol -o show partition``."""
    keys = {
        "PartitionName": name, "AllowGroups": "ALL", "AllowAccounts": "ALL", "AllowQos": "ALL", "Default": "NO",
        "QoS": "N/A", "DefaultTime": "01:00:00", "Hidden": "NO", "MaxNodes": "UNLIMITED", "MaxTime": "2-00:00:00",
        "Nodes": f"{name}[01-99]", "PriorityTier": "1", "RootOnly": "NO", "ReqResv": "NO", "PreemptMode": "OFF",
        "State": "UP", "JobDefaults": "(null)", "TRES": "cpu=64,mem=250G,node=4,billing=64,gres/gpu=32",
    }  # fmt: skip
    return " ".join(f"{key}={value}" for key, value in (keys | changes).items())


class Site:
    """A recorded cluster. ``takes`` sees the #SBATCH options of a script and returns sbatch's words against it, or none."""

    def __init__(
        self,
        partitions: Sequence[str],
        nodes: str,
        *,
        takes: Callable[[dict[str, str]], str] = lambda options: "",
        assoc: str = "",
        sacct: Answer = NOTHING,
        array: int = 1001,
        mode: str = "OFF",
        kind: str = "preempt/none",
    ) -> None:
        self.partitions, self.nodes, self.takes, self.assoc, self.sacct = partitions, nodes, takes, assoc, sacct
        self.config = CONFIG.format(cluster="big one!", array=array, mode=mode, kind=kind)
        self.tried: list[dict[str, str]] = []

    def ask(self, command: Sequence[str]) -> Answer:
        """Answer as the site's commands would."""
        words = tuple(command)
        if words[:3] == ("scontrol", "show", "config"):
            return Answer(0, self.config, "")
        if words[0] == "scontrol":
            return Answer(0, "\n".join(self.partitions) + "\n", "")
        if words[0] == "sinfo":
            return Answer(0, self.nodes, "")
        if words[0] == "sacctmgr":
            return Answer(0, self.assoc, "") if self.assoc else Answer(1, "", "sacctmgr: error: no database")
        if words[0] == "sacct":
            return self.sacct
        if words[:2] == ("sbatch", "--test-only"):
            return self._test_only(Path(words[2]).read_text())
        return Answer(NOT_FOUND, "", f"{words[0]}: command not found")

    def _test_only(self, script: str) -> Answer:
        options = {
            match[1]: match[2].strip("'")
            for match in re.finditer(r"^#SBATCH --([\w-]+)(?:=(.*))?$", script, re.MULTILINE)
            if match[2]
        }
        self.tried.append(options)
        words = self.takes(options)
        if words:
            return Answer(1, "", REFUSED.format(words, words))
        return Answer(
            0, "", "sbatch: Job 7 to start at 2026-11-02T09:30:00 using 8 processors on nodes a01 in partition x\n"
        )


MI300 = Site(
    [
        partition("interactive", MaxTime="04:00:00", Default="YES"),
        partition("mi300", MaxTime="7-00:00:00", PriorityTier="10"),
        partition("mi300-short", MaxTime="00:30:00", PriorityTier="10"),
        partition("h100", MaxTime="UNLIMITED", DefaultTime="NONE"),
        partition("secret", Hidden="YES", MaxTime="UNLIMITED"),
        partition("theirs", AllowAccounts="physics,chemistry"),
        partition("broken", State="INACTIVE"),
    ],
    "interactive|4|64|256000|idle|(null)\n"
    "mi300|20|96|1536000|mixed|gpu:mi300x:8(S:0-1)\n"
    "mi300|2|96|1536000|drained*|gpu:mi300x:8(S:0-1)\n"
    "mi300-short|20|96|1536000|mixed|gpu:mi300x:8(S:0-1)\n"
    "h100|8|128|1031000+|allocated|gpu:h100:4(S:0-3),shard:h100:16\n"
    "secret|90|128|1031000|idle|gpu:h100:4\n"
    "theirs|90|128|1031000|idle|gpu:b200:8\n"
    "broken|90|128|1031000|idle|gpu:b200:8\n",
    assoc="ml-group||normal,long|normal\nother||normal|\n",
)
"""Typed GPUs of two makers, a short partition on the same nodes, hidden and foreign ones."""
