"""The worlds of the suite ``ftbench-mini`` that the corpus of the built-in base model does not have.

They stand apart from ``generators``, whose families are that corpus: a new world here changes no base model, and with it no
measured number. :data:`TASKS` names the generators of all built-in tasks; :func:`generate` draws from any of them.
"""

from __future__ import annotations

from random import Random

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.generators import FAMILIES as CORPUS
from hpc_trex.ftbench.generators import pools
from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.mini import analysis, decide, icl, program, sets, style, translate

WORLDS: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY for module in (icl, translate, program, analysis, style, sets, decide)
}
#: The ten tasks of the suite, one for each broad capability, in the order of ``hpc_trex.models.task.CAPABILITIES``.
SUITE = (
    "mini-extract",
    "mini-triage",
    "mini-learn",
    "mini-listops",
    "mini-translate",
    "mini-program",
    "mini-table",
    "mini-forms",
    "mini-sets",
    "mini-decide",
)
#: By name, all families that a task card may name.
FAMILIES: dict[str, Family] = {name: CORPUS[name] for name in pools.TASKS} | WORLDS
TASKS = tuple(FAMILIES)


def generate(generator: str, part: str, rows: int, seed: int) -> list[Pair]:
    """Return ``rows`` pairs of one part of a generated task; equal arguments give equal rows on every machine.

    Raises :class:`UsageProblem` where generator or part is unknown or the world is too small for ``rows``.
    """
    if generator not in FAMILIES:
        raise UsageProblem(f"unknown generator {generator!r}", hint=f"generators: {', '.join(TASKS)}")
    if part not in pools.PARTS:
        raise UsageProblem(f"generator {generator} has no part {part!r}", hint=f"parts: {', '.join(pools.PARTS)}")
    rng = Random(f"{generator}/{part}/{seed}")  # noqa: S311 - rows, not secrets
    return pools.PARTS[part](rng, FAMILIES[generator], rows)
