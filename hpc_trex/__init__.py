"""HPC-TREX: automated LLM fine-tuning as a tree search of Slurm jobs.

Importing the package does nothing and costs nothing: the version is read from the installed metadata on demand.
"""

from __future__ import annotations

__all__ = ["version"]


def version() -> str:
    """Return the installed version, or ``0+unknown`` when the package runs from a bare checkout."""
    from importlib import metadata

    try:
        return metadata.version("hpc-trex")
    except metadata.PackageNotFoundError:
        return "0+unknown"
