"""What submitit calls inside a Slurm job. The one module of this package that a job imports; it imports nothing else.

submitit drops what its function returns: a job that failed would look COMPLETED, and ``srun --kill-on-bad-exit`` would
let the other nodes wait. Leaving by ``SystemExit`` keeps the exit code, and spares submitit's result pickle.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def run_and_exit(spec_path: str) -> NoReturn:
    """Run the job of this spec and end the process with its exit code."""
    from hpc_trex.job.entry import run

    sys.exit(run(spec_path))
