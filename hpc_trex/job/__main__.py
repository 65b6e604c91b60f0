"""``python -m hpc_trex.job SPEC``: a job as a local process."""

from __future__ import annotations

import sys

from hpc_trex.job.entry import run

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m hpc_trex.job SPEC")
    sys.exit(run(sys.argv[1]))
