"""Decontamination: rows that are evaluated on are never trained on, matched as whole normalised prompts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators.base import Outcome, column, kept
from hpc_trex.ftbench.rows import item_hash

if TYPE_CHECKING:
    from datasets import Dataset

_HASH = re.compile(r"[0-9a-f]{64}")


def blocked_hashes(files: Iterable[Path]) -> set[str]:
    """Return the hashes of all files: a SHA-256 a line, or JSON rows with a ``prompt``.

    Raises :class:`DataProblem` for a file that cannot be read: training without the check is not an option.
    """
    hashes: set[str] = set()
    for path in files:
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                hashes.add(line if _HASH.fullmatch(line) else item_hash(json.loads(line)["prompt"]))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DataProblem(f"the block list {path} cannot be read: {error}", hint="start the search anew") from error
    return hashes


def outside(data: Dataset, hashes: set[str]) -> Outcome:
    """Return the rows whose prompts are not blocked."""
    keep = [item_hash(prompt) not in hashes for prompt in column(data, "prompt")]
    return kept(data, keep, "the prompt stands in dev or test")
