"""``hpc-trex sweep cancel``: end a sweep, or some elements of it, for good."""

from __future__ import annotations

import click

from hpc_trex.cli.options import dry_run_option, emit
from hpc_trex.cli.sweep_options import elements_option, opened, sweep_argument


@click.command("cancel", epilog="Example: hpc-trex sweep cancel sweep-1 --only 3,5-7")
@sweep_argument
@elements_option
@dry_run_option
def command(sweep: str | None, only: tuple[int, ...] | None, dry_run: bool) -> None:
    """End the elements of SWEEP (default: the newest) that wait or run; what is done stays.

    Cancelled elements are not submitted again, unless sweep resume --only names them.
    """
    from hpc_trex.sweep.run import cancel, require_numbers
    from hpc_trex.sweep.standing import standings
    from hpc_trex.sweep.submit import spans

    paths, config = opened(sweep)
    require_numbers(config, only)
    if dry_run:
        over = ("done", "cancelled")
        numbers = [one.element.number for one in standings(paths, config, only) if one.state.value not in over]
        emit(f"{len(numbers)} element(s) would be cancelled" + (f": {spans(numbers)}" if numbers else ""))
        return
    cancel(paths, config, emit, only=only)
