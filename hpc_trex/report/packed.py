"""Logs of closed rounds: ``gc`` packs them into one archive a round, because files are what quotas count."""

from __future__ import annotations

import tarfile
from pathlib import Path

from hpc_trex.layout import SearchPaths


def packed(search: SearchPaths, node: int, path: Path) -> bytes | None:
    """Return what the archive of a round holds under the name that ``path`` had; None where it has none."""
    try:
        with tarfile.open(search.packed_logs(node), "r:gz") as archive:
            member = archive.extractfile(str(path.relative_to(search.node(node))))
            return None if member is None else member.read()
    except (FileNotFoundError, KeyError):
        return None
