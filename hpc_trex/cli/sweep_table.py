"""``hpc-trex sweep table``: scores, gains and cost of each task, model and method over its seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import emit, emit_json, json_option, look
from hpc_trex.cli.sweep_options import opened, sweep_argument
from hpc_trex.errors import UsageProblem

if TYPE_CHECKING:
    from hpc_trex.sweep.layout import SweepPaths
    from hpc_trex.sweep.records import SweepConfig
    from hpc_trex.sweep.table import TableRow


@click.command("table", epilog="Example: hpc-trex sweep table sweep-1 --csv > sweep-1.csv")
@sweep_argument
@json_option
@click.option("--csv", is_flag=True, help="Print CSV.")
def command(sweep: str | None, json: bool, csv: bool) -> None:
    """Print one row for each task, model, Researcher and policy of SWEEP (default: the newest), over the seeds that are done.

    "gain" is positive where the model got better; +- is the standard deviation between seeds; hours are what the jobs held.
    """
    from hpc_trex.sweep.table import table_csv, table_text

    if json and csv:
        raise UsageProblem("--json and --csv are two formats: give one")
    paths, config = opened(sweep)
    rows = rows_of(paths, config)
    if json:
        emit_json({"sweep": config.name, "rows": [row.model_dump() for row in rows]})
    else:
        emit(table_csv(rows).rstrip() if csv else table_text(rows, look()))


def rows_of(paths: SweepPaths, config: SweepConfig) -> list[TableRow]:
    """Return the rows from the results as they lie there; Slurm is not asked."""
    from hpc_trex.sweep.folder import held
    from hpc_trex.sweep.standing import from_results
    from hpc_trex.sweep.table import table

    found = from_results(paths, config)
    return table(config, found, {number: held(paths, [number]) for number in range(len(found))})
