"""Where jobs run: the scheduler seam, Slurm through submitit, local processes, profiles."""
