"""The fixed entry of every job: submitit calls :func:`run` with the path of ``spec.json``, nothing else is pickled."""

from __future__ import annotations

from hpc_trex.job.signals import StopSignals


def run(spec_path: str) -> int:
    """Run one job and return its exit code: 0 succeeded or a double, 1 failed with a result, 2 no usable spec,
    8 the result could not be written. Imports no torch.
    """
    signals = StopSignals().install()
    if _serves(spec_path):
        from hpc_trex.job.serve import serve

        return serve(spec_path, signals)
    from hpc_trex.job.supervisor import supervise

    return supervise(spec_path, signals)


def _serves(spec_path: str) -> bool:
    """Tell whether the job serves a language model. What cannot be read is the supervisor's to complain of."""
    import json
    from pathlib import Path

    try:
        raw = json.loads(Path(spec_path).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(raw, dict) and raw.get("job") == "serve"
