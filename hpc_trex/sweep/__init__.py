"""Many small searches as one Slurm array: ``hpc-trex sweep``."""
