"""``hpc-trex sweep``: many small searches as one Slurm array."""

from __future__ import annotations

import click

from hpc_trex.cli.lazy import Entry, LazyGroup


@click.command(
    "sweep",
    cls=LazyGroup,
    table={
        "launch": Entry("sweep_launch", "Start a sweep."),
        "ftbench": Entry("sweep_ftbench", "Start a sweep of FT-Bench, or of another suite."),
        "resume": Entry("sweep_resume", "Submit what is missing or failed."),
        "status": Entry("sweep_status", "How many elements are done, and how the others stand."),
        "table": Entry("sweep_table", "Scores, gains and cost of each task, model and method."),
        "wait": Entry("sweep_wait", "Block until nothing is at work, then print the table."),
        "cancel": Entry("sweep_cancel", "End a sweep, or some elements of it."),
        "list": Entry("sweep_list", "List the sweeps."),
        "element": Entry("sweep_element", "Run one element: what the jobs of the array call."),
    },
)
def command() -> None:
    """Many searches as one Slurm array: tasks x models x seeds x Researchers x policies, each element a whole small search."""
