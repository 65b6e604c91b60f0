"""Where a training stands on disk. No torch: the supervisor asks here too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hpc_trex.files import read_record
from hpc_trex.models import LossPoint, ModelRef, Record

MARKER = "complete.json"


class Progress(Record):
    """The marker of a complete checkpoint, written last, and all of its state that is not tensors."""

    step: int
    """Optimizer steps done; the position in the data is ``step * batch_size`` samples of the endless stream."""
    tokens: int = 0
    curve: tuple[LossPoint, ...] = ()
    window: tuple[float, ...] = ()
    """Losses since the last point of the curve."""
    recent: tuple[float, ...] = ()
    """The last losses, by which a diverging run is recognised."""
    first_loss: float | None = None
    identity: str = ""
    """Digest of what the training must share with the run that resumes from it."""
    finished: ModelRef | None = None
    """The training is over and the model lies here: only the evaluation was left."""


class Checkpoint(NamedTuple):
    """A complete checkpoint."""

    folder: Path
    progress: Progress

    @property
    def step(self) -> int:
        return self.progress.step


def complete_checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the complete checkpoints below ``folder``, oldest first; a folder without its marker does not count."""
    found = []
    for path in folder.glob("step-*"):
        progress = read_record(path / MARKER, Progress)
        if progress is not None:
            found.append(Checkpoint(path, progress))
    return sorted(found, key=lambda one: (one.step, one.progress.finished is not None))


def newest_checkpoint(folders: Iterable[Path], *, identity: str | None = None) -> Checkpoint | None:
    """Return the complete checkpoint with the most steps in any of ``folders``, or None.

    With ``identity``, those of another training are passed over. A finished one whose model is gone is too.
    """
    found = [one for folder in folders for one in complete_checkpoints(folder)]
    usable = [
        one
        for one in found
        if (identity is None or one.progress.identity == identity)
        and (one.progress.finished is None or _there(one.progress.finished))
    ]
    return max(usable, key=lambda one: (one.step, one.progress.finished is not None), default=None)


def _there(model: ModelRef) -> bool:
    return Path(model.adapter or model.path).is_dir()
