"""Generated task families: small worlds made from a seed, for the built-in tasks and the built-in base models.

:data:`FAMILIES` holds them by name; ``pools`` draws the noisy training pools and the clean splits from one of them.
"""

from __future__ import annotations

from hpc_trex.ftbench.generators import (
    addition,
    extract,
    fieldfind,
    listops,
    logic,
    style,
    table,
    toolcall,
    translate,
    triage,
)
from hpc_trex.ftbench.generators.family import Family, Pair

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY
    for module in (triage, extract, listops, fieldfind, addition, translate, style, table, toolcall, logic)
}

__all__ = ["FAMILIES", "Family", "Pair"]
