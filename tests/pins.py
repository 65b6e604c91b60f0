"""The packages of the container images, from ``constraints.txt``: ``python -m tests.pins > containers/pins.txt``.

What the job's side and the controller need at run time, with all that they need in turn, in the versions of
``constraints.txt``; without the tools of the developers. torch brings its CUDA libraries by itself, each pinned by torch.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("train", "optuna")
HEAD = """# Made from constraints.txt by: python -m tests.pins > containers/pins.txt
# What an image holds beside hpc-trex itself and flash-attn (flash.txt). Do not edit.
"""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints() -> dict[str, str]:
    """``{canonical name: line}`` of constraints.txt."""
    lines = [line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    return {canonical(line.split("==")[0]): line for line in lines if "==" in line and not line.startswith("#")}


def required(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """What an installed package requires here, with these extras."""
    from packaging.requirements import Requirement

    for text in metadata.requires(name) or []:
        wanted = Requirement(text)
        environments = [{"extra": extra} for extra in ("", *extras)]
        if wanted.marker is None or any(wanted.marker.evaluate(given) for given in environments):
            yield canonical(wanted.name), frozenset(wanted.extras)


def closure() -> set[str]:
    """The names of all packages that the images need."""
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = [("hpc-trex", frozenset(EXTRAS))]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            try:
                waiting += required(*one)
            except metadata.PackageNotFoundError:  # of another platform, or a CUDA library of torch's
                found.discard(one)
    return {name for name, _ in found} - {"hpc-trex"}


def pins() -> str:
    """The text of ``containers/pins.txt``."""
    known = constraints()
    missing = sorted(name for name in closure() if name not in known)
    if missing:
        raise SystemExit(f"not in constraints.txt: {', '.join(missing)}")
    return HEAD + "".join(f"{known[name]}\n" for name in sorted(closure()))


if __name__ == "__main__":
    sys.stdout.write(pins())
