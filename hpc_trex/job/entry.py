"""The fixed entry of every job: submitit calls :func:`run` with the path of ``spec.json``, nothing else is pickled."""

from __future__ import annotations

from hpc_trex.job.signals import StopSignals


def run(spec_path: str) -> int:
    """Run one job and return its exit code: 0 succeeded or a double, 1 failed with a result, 2 no usable spec,
    8 the result could not be written. Imports no torch.
    """
    signals = StopSignals().install()
    from hpc_trex.job.supervisor import supervise

    return supervise(spec_path, signals)
