"""A job that does no work: it sleeps and reports a score. What the benchmarks put in the place of a training."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from hpc_trex.files import write_record
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobKind, JobResult, JobSpec, ModelRef, Score


def run(spec_path: str) -> int:
    """Sleep for ``HPC_TREX_NOOP_SECONDS`` (a training) or no time (the rest), then write ``result.json``."""
    began = time.monotonic()
    spec = JobSpec.model_validate_json(Path(spec_path).read_bytes())
    paths = AttemptPaths(Path(spec.attempt_dir))
    with paths.started.open("x") as handle:
        handle.write(f'{{"token": "{spec.token}"}}')
    if spec.kind is JobKind.TRAIN:
        time.sleep(float(os.environ.get("HPC_TREX_NOOP_SECONDS", "10")))
    value = 0.3 + 0.4 * random.Random(spec.token).random()
    scored = spec.kind in (JobKind.TRAIN, JobKind.BASELINE)
    score = Score(metric="exact_match", value=value, low=value - 0.05, high=value + 0.05, n=200)
    result = JobResult(
        token=spec.token,
        state="succeeded",
        scores={"main": score} if scored else {},
        model=ModelRef(name="none", path=str(paths.model)),
        seconds=time.monotonic() - began,
    )
    write_record(paths.result, result)
    return 0
