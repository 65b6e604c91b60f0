"""``hpc-trex sweep wait``: block until nothing of a sweep is at work, then print its table; the exit code says its fate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import emit, look
from hpc_trex.cli.sweep_options import element_lines, opened, sweep_argument

if TYPE_CHECKING:
    from hpc_trex.sweep.layout import SweepPaths
    from hpc_trex.sweep.records import SweepConfig

FAILED, NOT_FINISHED, CANCELLED = 100, 101, 103
#: Until what looks lost is looked at again.
SECOND_LOOK = 5.0


@click.command("wait", epilog="Example: hpc-trex sweep wait sweep-1 && hpc-trex sweep table sweep-1 --csv")
@sweep_argument
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up then (exit code 101).")
@click.pass_context
def command(ctx: click.Context, /, *, sweep: str | None, timeout: float | None) -> None:
    """Wait until no element of SWEEP waits or runs, and print the table. Exit code: 0 all done, 100 some failed, stopped, lost
    or missing, 101 not over in time or not known, 103 all the others cancelled.
    """
    ctx.exit(waited(*opened(sweep), timeout))


def waited(paths: SweepPaths, config: SweepConfig, timeout: float | None = None) -> int:
    """Wait until nothing of a sweep is at work, or ``timeout`` seconds; print the table and return the exit code."""
    from hpc_trex.sweep.standing import at_work, being_submitted, counts, standings, undecided

    until = None if timeout is None else time.monotonic() + timeout
    told, doubts = "", set[int]()
    while True:
        found = standings(paths, config)
        words = ", ".join(f"{count} {state}" for state, count in counts(found).items())
        if words != told:
            emit(f"{time.strftime('%H:%M:%S')} {words}")
            told = words
        before, doubts = doubts, undecided(found)
        busy = at_work(found) or being_submitted(paths)
        if not busy and doubts <= before:
            return last_words(paths, config)
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            if not busy:
                return last_words(paths, config)
            emit(f"sweep {config.name} is not over after {timeout:g} s")
            return NOT_FINISHED
        pause = config.profile.poll_seconds if busy else min(config.profile.poll_seconds, SECOND_LOOK)
        time.sleep(pause if left is None else min(pause, left))


def last_words(paths: SweepPaths, config: SweepConfig) -> int:
    """Print the table and what is not done; return the exit code of ``wait``."""
    from hpc_trex.cli.sweep_table import rows_of
    from hpc_trex.sweep.records import AT_WORK, ElementState
    from hpc_trex.sweep.standing import standings
    from hpc_trex.sweep.table import table_text

    found = standings(paths, config)
    emit("\n" + table_text(rows_of(paths, config), look()))
    rest = [one for one in found if one.state is not ElementState.DONE]
    if not rest:
        return 0
    emit("\nnot done:")
    for line in element_lines(config, rest):
        emit(line)
    if any(one.state in AT_WORK for one in rest):
        return NOT_FINISHED
    if all(one.state is ElementState.CANCELLED for one in rest):
        return CANCELLED
    emit(f"\ngo on: hpc-trex sweep resume {config.name}")
    return FAILED
