"""Find the text files that a site reads and edits: prompts, migrations, profiles, task cards, containers.

One function, :func:`site`, and nobody else computes such a path. The order is the user's own folder
(``--site`` or ``HPC_TREX_SITE``), the copy inside an installed wheel, the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

from hpc_trex.errors import NotFound

SITE_FOLDERS = ("agents", "containers", "ftbench", "slurm", "tree")


def shipped() -> Path:
    """Return the folder that holds the five shipped folders: ``_site`` of a wheel, or the checkout.

    An editable install also leaves a ``_site`` copy in site-packages; it is never beside this module, so it is
    never read.
    """
    package = Path(__file__).resolve().parent
    wheel = package / "_site"
    return wheel if wheel.is_dir() else package.parent


def site(*parts: str) -> Path:
    """Return the path of one site file or folder, e.g. ``site("slurm", "profiles", "local.toml")``.

    A file in the user's own folder hides the shipped one; what the user's folder lacks is taken from the shipped
    files. Raises :class:`NotFound` naming every place that was tried.
    """
    tried = []
    own = os.environ.get("HPC_TREX_SITE")
    for root in ([Path(own).expanduser()] if own else []) + [shipped()]:
        path = root.joinpath(*parts)
        if path.exists():
            return path
        tried.append(str(path))
    raise NotFound(
        f"site file {'/'.join(parts)} not found; tried {', '.join(tried)}",
        hint="reinstall hpc-trex, or correct HPC_TREX_SITE",
    )


def site_files(folder: str, pattern: str) -> dict[str, Path]:
    """Return ``{stem: path}`` of the files that match ``pattern`` below ``folder``, the user's own hiding shipped ones."""
    own = os.environ.get("HPC_TREX_SITE")
    roots = [shipped()] + ([Path(own).expanduser()] if own else [])
    return {path.stem: path for root in roots for path in sorted((root / folder).glob(pattern))}


def site_folders(folder: str, filename: str) -> dict[str, Path]:
    """Return ``{name: path}`` of each ``folder/name/filename``, the user's own hiding shipped ones."""
    own = os.environ.get("HPC_TREX_SITE")
    roots = [shipped()] + ([Path(own).expanduser()] if own else [])
    return {path.parent.name: path for root in roots for path in sorted((root / folder).glob(f"*/{filename}"))}
