"""The packages of the container images, from ``constraints.txt``: ``python -m tests.pins > containers/pins.txt``.

What the job's side and the controller need at run time, with all that they need in turn, in the versions of
``constraints.txt``; without the tools of the developers. The CUDA libraries that torch asks for stand in ``cuda.txt``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("train", "optuna", "chem", "law")
#: The interpreter and the platform of the images, so that the answer is the same wherever this runs.
IMAGE = {
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.12.3",
    "python_version": "3.12",
    "sys_platform": "linux",
}
HEAD = """# Made from constraints.txt by: python -m tests.pins > containers/pins.txt
# What an image holds beside hpc-trex itself, the CUDA libraries (cuda.txt) and flash-attn (flash.txt). Do not edit.
"""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(path: Path) -> dict[str, str]:
    """``{canonical name: line}`` of a file of pins."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    return {canonical(line.split("==")[0]): line for line in lines if "==" in line and not line.startswith("#")}


def required(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """What a package that is installed here requires in the image, with these extras."""
    from packaging.requirements import Requirement

    for text in metadata.requires(name) or []:
        wanted = Requirement(text)
        environments = [IMAGE | {"extra": extra} for extra in ("", *extras)]
        if wanted.marker is None or any(wanted.marker.evaluate(given) for given in environments):
            yield canonical(wanted.name), frozenset(wanted.extras)


def closure() -> set[str]:
    """The names of all packages of ``pins.txt``."""
    elsewhere = {"hpc-trex", "pip", *pinned(ROOT / "containers" / "cuda.txt")}  # pip comes with the environment
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = [("hpc-trex", frozenset(EXTRAS))]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [more for more in required(*one) if more[0] not in elsewhere]
    return {name for name, _ in found} - elsewhere


def pins() -> str:
    """The text of ``containers/pins.txt``."""
    known = pinned(ROOT / "constraints.txt")
    needed = closure()
    missing = sorted(needed - set(known))
    if missing:
        raise SystemExit(f"not in constraints.txt: {', '.join(missing)}")
    return HEAD + "".join(f"{known[name]}\n" for name in sorted(needed))


if __name__ == "__main__":
    sys.stdout.write(pins())
