"""Code that an agent wrote, run where it can do no harm: in bubblewrap, else in Apptainer, else not at all."""

from __future__ import annotations

from hpc_trex.sandbox.errors import CodeFailed, SandboxMissing
from hpc_trex.sandbox.run import Limits, Ran, run
from hpc_trex.sandbox.rungs import Finding, Rung, choose, examine, rungs

__all__ = ["CodeFailed", "Finding", "Limits", "Ran", "Rung", "SandboxMissing", "choose", "examine", "run", "rungs"]
