"""Checkpoints: a folder with tensors that counts only once its marker, written last, is there.

Two are kept, where there is room for a third beside them while it is written; else one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpc_trex.errors import EnvironmentProblem, JobFailure
from hpc_trex.files import DISK_ERRORS, disk_problem, sync_folder, write_record
from hpc_trex.models import FailureClass, ModelRef
from hpc_trex.training.progress import MARKER, Checkpoint, Progress, complete_checkpoints

if TYPE_CHECKING:
    from hpc_trex.training.ranks import Ranks

KEPT = 2
_TENSORS = "state.pt"


def save_checkpoint(folder: Path, progress: Progress, state: dict[str, Any]) -> Path:
    """Save the state of ``Ranks.state``, with that of the stage, and the progress; return the checkpoint's folder.

    No random state is saved: every step seeds itself from seed, step and rank, and the learning rate and the data
    order are functions of the step. Where the disk or the quota has no room for a third checkpoint, the older of two makes
    it. Raises ``EnvironmentProblem`` when the disk is full all the same; the newest checkpoint stays.
    """
    target = folder / f"step-{progress.step:08d}"
    try:
        _write(target, progress, state)
    except (EnvironmentProblem, JobFailure):  # torch's own writer tells a full disk without its errno
        if len(complete_checkpoints(folder)) < KEPT:
            raise
        _prune(folder, 1)
        _write(target, progress, state)
    _prune(folder, KEPT)
    return target


def _write(target: Path, progress: Progress, state: dict[str, Any]) -> None:
    import torch

    try:
        shutil.rmtree(target, ignore_errors=True)  # one without its marker, left by a kill
        target.mkdir(parents=True)
        with (target / _TENSORS).open("wb") as handle:
            torch.save(state, handle)
            handle.flush()
            os.fsync(handle.fileno())
        sync_folder(target)
        write_record(target / MARKER, progress)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        if error.errno in DISK_ERRORS:
            raise disk_problem(error, target) from error
        raise
    except RuntimeError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise JobFailure(f"cannot write {target}: {error}", failure=FailureClass.ENVIRONMENT) from error


def mark_finished(folder: Path, progress: Progress, model: ModelRef) -> None:
    """Note that the training is over and where its model lies, and drop the checkpoints, which nobody needs now.

    A later attempt whose evaluation was cut off starts from here.
    """
    target = folder / f"step-{progress.step:08d}-finished"
    target.mkdir(parents=True, exist_ok=True)
    write_record(target / MARKER, progress.model_copy(update={"finished": model}))
    _prune(folder, 1)


def load_checkpoint(checkpoint: Checkpoint, ranks: Ranks, model: Any, optimizer: Any | None) -> dict[str, Any]:
    """Put a checkpoint's weights and optimizer state in place and return what it holds of its stage.

    Without an optimizer only the weights: the next stage begins with a new one. Raises :class:`JobFailure` where they do not fit.
    """
    import torch

    path = checkpoint.folder / _TENSORS
    own = {name: value for name, value in model.named_parameters() if value.requires_grad}
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        with torch.no_grad():
            for name in sorted(own.keys() | state["weights"].keys()):
                ranks.put(own[name], state["weights"][name])
        if optimizer is not None:
            ranks.put_optimizer(optimizer, state["optimizer"])
        return dict(state.get("stage", {}))
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise JobFailure(f"checkpoint {path} cannot be used: {error}", failure=FailureClass.ENVIRONMENT) from error


def _prune(folder: Path, keep: int) -> None:
    """Remove all but the newest complete checkpoints. What has no marker is somebody's half: it goes too."""
    kept = {one.folder for one in complete_checkpoints(folder)[-keep:]}
    for path in folder.glob("step-*"):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
