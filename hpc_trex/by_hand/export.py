"""A trained model for other programs: merged or as an adapter, with a model card."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from hpc_trex.by_hand.card import model_card
from hpc_trex.by_hand.recorded import Recorded
from hpc_trex.errors import EnvironmentProblem, NotFound, TrexError, UsageProblem
from hpc_trex.files import temporary_name, write_atomic
from hpc_trex.models import ModelRef
from hpc_trex.slurm.environment import clean_environment


def export(what: Recorded, target: Path, *, merge: bool) -> Path:
    """Write the trial's model to ``target``: all or nothing. Returns the folder.

    Raises :class:`UsageProblem` for a folder that is not empty, :class:`NotFound` for a model that is gone,
    :class:`EnvironmentProblem` where merging needs packages that are not here.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageProblem(f"{target} exists already", hint="name a folder that is empty or not there")
    model = _model(what)
    if model is None or not Path(model.adapter or model.path).is_dir():
        raise NotFound(
            f"the model of node {what.node.id} is gone",
            hint=f"hpc-trex reproduce {what.config.name} {what.node.id} makes it anew",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    making = temporary_name(target)
    try:
        if model.adapter and merge:
            _merge(model, making)
        else:
            shutil.copytree(model.adapter or model.path, making)
        write_atomic(making / "README.md", model_card(what, model, merged=merge))
        for name, content in (("plan.json", what.plan.model_dump(mode="json")), ("data-manifest.json", what.manifest)):
            write_atomic(making / name, json.dumps(content, indent=1, ensure_ascii=False))
        if target.is_dir():
            target.rmdir()
        making.rename(target)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return target


def _model(what: Recorded) -> ModelRef | None:
    """Return the trained model where it lies now: the search may have been moved since. A base stays where it is."""
    model = what.result.model
    if model is None:
        return None
    if model.adapter:
        return model.model_copy(update={"adapter": str(what.paths.here(model.adapter))})
    return model.model_copy(update={"path": str(what.paths.here(model.path))})


def _merge(model: ModelRef, target: Path) -> None:
    """Merge in a process of its own. Raises what became of it, with its last words."""
    command = [sys.executable, "-m", "hpc_trex.training.merge", model.path, str(model.adapter), str(target)]
    environment = clean_environment() | {"HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1", "PYTHONPATH": _home()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    if "ModuleNotFoundError" in last[0]:
        raise EnvironmentProblem(f"merging is not possible here: {last[0]}", hint="pip install 'hpc-trex[train]'")
    raise TrexError(f"merging failed: {last[0]}", hint="without --merge the adapter itself is copied")


def _home() -> str:
    """Return where this program lies: a checkout that is not installed is found by the child, too."""
    import hpc_trex

    return str(Path(hpc_trex.__file__).parent.parent)
