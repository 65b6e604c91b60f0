"""A storm over whole searches on a real Slurm: ``python -m tests.storm --minutes 30`` (docs/testcluster.md)."""
