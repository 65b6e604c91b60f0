"""Readers of upstream files whose rows no suffix, glob or template can tell (``reader`` of a card's table).

A reader gets the files that the table's ``path`` names, in their order, and yields the upstream columns of each row.
It raises :class:`hpc_trex.errors.UsageProblem` naming file and place for a file that is not what it was written for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hpc_trex.ftbench.upstream.cs_bench import read_test, read_valid
from hpc_trex.ftbench.upstream.gta import read_gta
from hpc_trex.ftbench.upstream.hoc import read_hoc
from hpc_trex.ftbench.upstream.lawbench import read_lawbench
from hpc_trex.ftbench.upstream.omebench import read_silver
from hpc_trex.ftbench.upstream.openfindata import read_openfindata
from hpc_trex.ftbench.upstream.sst2 import read_dev, read_train
from hpc_trex.ftbench.upstream.tomg import read_openmolins, read_tomg

Reader = Callable[[Sequence[Path]], Iterator[dict[str, Any]]]

#: By the name that a card's table gives as ``reader``.
READERS: dict[str, Reader] = {
    "lawbench": read_lawbench,
    "cs-bench-test": read_test,
    "cs-bench-valid": read_valid,
    "gta": read_gta,
    "hoc": read_hoc,
    "omebench-silver": read_silver,
    "openfindata": read_openfindata,
    "sst-2-dev": read_dev,
    "sst-2-train": read_train,
    "openmolins": read_openmolins,
    "tomg": read_tomg,
}
