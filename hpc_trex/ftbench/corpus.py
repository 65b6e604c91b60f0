"""The corpus on which a built-in base model is pre-trained: all families, in their broad distribution."""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators import FAMILIES
from hpc_trex.ftbench.generators.pools import one


def pretraining_rows(seed: int, rows_per_family: int) -> list[tuple[str, str]]:
    r"""Return ``rows_per_family`` (prompt, answer) pairs of each family, shuffled.

    The prompt ends before the answer and its blank (``...\nanswer:``). No prompt of a dev or test split can be among
    them (``generators.pools``). Each family has its own stream: adding one does not change the others' rows.
    """
    rows: list[tuple[str, str]] = []
    for name, family in FAMILIES.items():
        rng = Random(f"corpus/{seed}/{name}")  # noqa: S311 - rows, not secrets
        pairs = (one(rng, family.broad) for _ in range(rows_per_family))
        rows += [(pair.prompt, pair.answer) for pair in pairs]
    Random(f"corpus/{seed}").shuffle(rows)  # noqa: S311
    return rows
