"""``python -m hpc_trex``: the same program as the ``hpc-trex`` console script."""

from hpc_trex.cli.main import main

main()
