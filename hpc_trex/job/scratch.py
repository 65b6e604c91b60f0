"""A folder of the job's own on the node's disk, for everything temporary: made at the start, removed at the end.

Caches that several jobs share on a network disk break: locks do nothing there, and two jobs that build the same data
set destroy each other's (docs/staging.md).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def scratch(outer: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Make the folder and yield the variables that lead there; what the profile has set itself stays.

    ``SLURM_TMPDIR`` comes first: where a site has one, it is local and private. Raises ``OSError`` when no place for
    temporary files can be written.
    """
    folder = tempfile.mkdtemp(
        prefix=f"hpc-trex-{os.getuid()}-{outer.get('SLURM_JOB_ID', os.getpid())}-", dir=_place(outer)
    )
    try:
        yield {"TMPDIR": folder} | {
            name: outer.get(name) or os.path.join(folder, part)  # noqa: PTH118 - as text, for the environment
            for name, part in (("HF_DATASETS_CACHE", "datasets"), ("HF_MODULES_CACHE", "modules"))
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(outer: Mapping[str, str]) -> str:
    """Return the first folder that can be written; Python's own choice (TMPDIR, /tmp) where Slurm gives none."""
    own = outer.get("SLURM_TMPDIR", "")
    return own if own and os.access(own, os.W_OK | os.X_OK) else tempfile.gettempdir()
