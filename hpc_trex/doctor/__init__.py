"""What this machine and cluster can do, checked on the spot: ``hpc-trex doctor``."""
