"""The only place that knows a file name of a sweep's folder (docs/sweeps.md)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hpc_trex.layout import home


class ElementPaths(NamedTuple):
    """The files of one element of a sweep."""

    root: Path

    @property
    def search(self) -> Path:
        """The element's search: an ordinary search directory, renamed into place when it is whole."""
        return self.root / "search"

    @property
    def result(self) -> Path:
        return self.root / "element.json"

    @property
    def cancelled(self) -> Path:
        """Stands there when a person cancelled the element: ``sweep resume`` passes it over."""
        return self.root / "cancelled"

    @property
    def log(self) -> Path:
        """Output of an element that runs as a local process; in an array it is :meth:`ArrayPaths.output`."""
        return self.root / "element.log"

    def run(self, token: str) -> Path:
        """The record of one job of this element; ``token`` is its array's."""
        return self.root / "runs" / f"{token}.json"


class ArrayPaths(NamedTuple):
    """The files of one submitted array of a sweep."""

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "array.json"

    @property
    def script(self) -> Path:
        return self.root / "array.sbatch"

    @property
    def output(self) -> Path:
        """As Slurm is told it: ``%a`` stands for the index in the array."""
        return self.root / "%a.out"


class SweepPaths(NamedTuple):
    """The files of one sweep (docs/sweeps.md)."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "sweep.toml"

    def task(self, number: int) -> Path:
        """The frozen rows of one task, laid out as in a search directory; elements take them from here."""
        return self.root / "tasks" / f"{number:02d}"

    def element(self, number: int) -> ElementPaths:
        return ElementPaths(self.root / "elements" / f"{number:04d}")

    def array(self, number: int) -> ArrayPaths:
        return ArrayPaths(self.root / "arrays" / f"{number:04d}")


def sweeps_home() -> Path:
    """Return the folder that holds the sweeps: ``sweeps/`` beside the searches."""
    return home() / "sweeps"
