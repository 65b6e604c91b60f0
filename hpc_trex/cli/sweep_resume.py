"""``hpc-trex sweep resume``: submit only the elements that are missing, failed, stopped or lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import dry_run_option, emit
from hpc_trex.cli.sweep_options import elements_option, opened, sweep_argument

if TYPE_CHECKING:
    from hpc_trex.sweep.layout import SweepPaths


@click.command(
    "resume", epilog="\b\nExamples:\n  hpc-trex sweep resume sweep-1\n  hpc-trex sweep resume sweep-1 --only 3,7"
)
@sweep_argument
@elements_option
@click.option(
    "--gpu-hours", type=click.FloatRange(min=0, min_open=True), help="New cap on the sweep's GPU-hours at worst."
)
@dry_run_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    sweep: str | None,
    only: tuple[int, ...] | None,
    gpu_hours: float | None,
    dry_run: bool,
) -> None:
    """Go on with SWEEP (default: the newest): what is done stays, what is at work goes on, the rest is submitted.

    An element that was cut off goes on from what it recorded. One that a person cancelled only where --only names it.
    """
    from hpc_trex.sweep.run import require_numbers, to_submit
    from hpc_trex.sweep.standing import counts, standings
    from hpc_trex.sweep.submit import spans

    paths, config = opened(sweep)
    require_numbers(config, only)
    if dry_run:
        found = standings(paths, config)
        numbers = to_submit(found, only)
        emit(", ".join(f"{count} {state}" for state, count in counts(found).items()))
        emit(f"{len(numbers)} element(s) would be submitted" + (f": {spans(numbers)}" if numbers else ""))
        return
    ctx.exit(started(paths, config.name, only, gpu_hours))


def started(paths: SweepPaths, name: str, only: tuple[int, ...] | None, gpu_hours: float | None = None) -> int:
    """Submit what is to be done and say what to type next; on this machine run it, print the table, return the exit code."""
    from hpc_trex.sweep.folder import read_config
    from hpc_trex.sweep.run import go_on

    config = read_config(paths)
    try:
        numbers = go_on(paths, config, emit, only=only, gpu_hours=gpu_hours)
    except KeyboardInterrupt:
        emit(f"\nno further element is started; those that run go on. Go on: hpc-trex sweep resume {name}")
        raise
    if config.profile.scheduler != "slurm" or not numbers:
        from hpc_trex.cli.sweep_wait import last_words

        if not numbers:
            emit("nothing is to be submitted")
        return last_words(paths, config)
    emit(
        f"{len(numbers)} element(s) submitted\n"
        f"watch: hpc-trex sweep status {name}    table: hpc-trex sweep wait {name}    end: hpc-trex sweep cancel {name}"
    )
    return 0
