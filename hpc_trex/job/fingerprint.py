"""What a result says about where it comes from: versions and SHA-256 digests."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

import hpc_trex
from hpc_trex.files import folder_digest

__all__ = ["PACKAGES", "code_digest", "folder_digest", "versions"]

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
    "rdkit",  # scores molecules: its patterns and properties are part of a score
    "jieba",  # and these Chinese law: words, overlap, numbers
    "rouge-chinese",
    "cn2an",
)


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
