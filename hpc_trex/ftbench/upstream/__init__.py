"""Readers of upstream files whose rows no suffix, glob or template can tell (``reader`` of a card's table).

A reader gets the files that the table's ``path`` names, in their order, and yields the upstream columns of each row.
It raises :class:`hpc_trex.errors.UsageProblem` naming file and place for a file that is not what it was written for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Reader = Callable[[Sequence[Path]], Iterator[dict[str, Any]]]

#: By the name that a card's table gives as ``reader``.
READERS: dict[str, Reader] = {}
