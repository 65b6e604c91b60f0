"""The training stage of a job: base models, loops, checkpoints, attention. Imports torch."""
