"""Trainings and evaluations without a search: the same jobs, started by hand on this machine (docs/training.md)."""
