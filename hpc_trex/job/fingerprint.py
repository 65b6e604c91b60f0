"""What a result says about where it comes from: versions and SHA-256 digests."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

import hpc_trex

PACKAGES = (
    "hpc-trex",
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "datasets",
    "lm-eval",
    "tokenizers",
    "flash-attn",
)
_HEAD = 1 << 20


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of packages (default: those that make a result), read without importing them."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def code_digest() -> str:
    """Return the SHA-256 over all Python files of this package."""
    root = Path(hpc_trex.__file__).parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def folder_digest(folder: Path) -> str:
    """Return a SHA-256 over the names, sizes and first mebibytes of a model folder's files.

    Not the whole weights: reading 140 GB in every job would cost more than it tells.
    """
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as handle:
            head = handle.read(_HEAD)
        total.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode() + head)
    return total.hexdigest()
