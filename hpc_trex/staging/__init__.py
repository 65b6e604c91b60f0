"""What a search needs from outside, brought to this site before any job is submitted (docs/staging.md)."""

from hpc_trex.staging.base import StagedModel, stage_model

__all__ = ["StagedModel", "stage_model"]
