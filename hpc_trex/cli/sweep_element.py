"""``hpc-trex sweep element``: what each job of the array calls."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit
from hpc_trex.errors import UsageProblem

#: A stopped element is no failure, but Slurm and a shell must not take it for done.
STOPPED = 75


@click.command("element")
@click.argument("sweep", type=click.Path(exists=True, file_okay=False))
@click.argument("number", type=click.IntRange(min=0))
@click.option("--array", type=click.IntRange(min=1), help="NUMBER is an index in this array of the sweep.")
@click.option("--here", metavar="TOKEN", help="NUMBER is the element's own; the token of this process.")
@click.pass_context
def command(ctx: click.Context, /, *, sweep: str, number: int, array: int | None, here: str | None) -> None:
    """Run one element of the sweep in the folder SWEEP: its search, from the beginning or from where it was cut off.

    Exit code: 0 done (or nothing to do), 1 failed, 75 told to end before it was done, 6 another job works on it.
    """
    import os
    from pathlib import Path

    from hpc_trex.slurm.processes import job_id_of, read
    from hpc_trex.sweep.element import Job, job_of, run_element
    from hpc_trex.sweep.layout import SweepPaths

    if (array is None) == (here is None):
        raise UsageProblem("give either --array or --here", hint="hpc-trex sweep resume starts elements by itself")
    paths = SweepPaths(Path(sweep).absolute())
    if array is not None:
        meant = job_of(paths, array, number)
        if meant is None:
            emit(f"array {array} was given up before Slurm took it: its jobs leave at once")
            return
        number, job = meant
    else:
        own = read(os.getpid())
        job = Job(str(here), str(job_id_of(own)) if own else str(os.getpid()))
    result = run_element(paths, number, job, emit)
    emit(f"element {number}: {result.state} {result.message}".rstrip())
    ctx.exit({"done": 0, "cancelled": 0, "stopped": STOPPED}.get(result.state, 1))
