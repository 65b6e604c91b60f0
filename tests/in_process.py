"""Trainings in the process of the tests: one training of a tiny base, and a stop at a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpc_trex.job.files import StopRequest
from hpc_trex.job.heartbeat import Beat
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import Heartbeat, JobSpec
from tests.jobs import spec_for


class StoppingBeat(Beat):
    """Asks for a stop, through the file that the supervisor would write, once a step is reached."""

    def __init__(self, spec: JobSpec, at_step: int | None = None) -> None:
        paths = AttemptPaths(Path(spec.attempt_dir))
        super().__init__(paths, every=0.01)
        self.stop = StopRequest(paths, look_seconds=0)
        self.at_step = at_step

    def __call__(self, heartbeat: Heartbeat) -> None:
        if self.at_step is not None and heartbeat.phase == "training" and heartbeat.step == self.at_step:
            self.stop.ask("test")
        super().__call__(heartbeat)


def trial(folder: Path, base: dict[str, str], rows: str, *, stop_at: int | None = None, **fields: Any) -> Any:
    """Train one trial in ``folder`` and return what it left."""
    from hpc_trex.training.train import train

    config = {"method": "full", "learning_rate": 3e-3, "batch_size": 8, "max_steps": 12, "epochs": 9, "max_seq_len": 64}
    config |= fields.pop("train", {})
    reward = fields.pop("reward", None)
    spec = spec_for(folder, folder, base=base, data_dir=rows, train=config, seed=7, **fields)
    return train(spec, StoppingBeat(spec, stop_at), reward)


def weights(trained: Any) -> dict[str, Any]:
    return {name: value.detach() for name, value in trained.model.named_parameters()}


def losses(trained: Any) -> list[float]:
    return [point.loss for point in trained.figures["curve"]]
