"""``hpc-trex ftbench mini``: the ten built-in tasks end to end, on this machine or as one array."""

from __future__ import annotations

from typing import Any

import click

from hpc_trex.cli.options import dry_run_option, emit, look
from hpc_trex.cli.sweep_options import Names, Numbers

COUNT = click.IntRange(min=1)


@click.command(
    "mini",
    epilog="\b\nExamples:\n"
    "  hpc-trex ftbench mini --tasks mini-forms,mini-table --max-nodes 2\n"
    "  hpc-trex ftbench mini --seeds 0-2 --profile mycluster -y",
)
@click.option("--tasks", type=Names(), help="Some of the ten, or others.  [default: all ten]")
@click.option("--seeds", type=Numbers(), help="Seeds of the searches.  [default: 0]")
@click.option("--researchers", type=Names(), help="Who designs rounds.  [default: playbook]")
@click.option("--policies", type=Names(), help="Which round is built on next.  [default: uct]")
@click.option("--profile", help="Where the searches run: a profile's name or file.  [default: local]")
@click.option("--inner-profile", help="Profile of the jobs inside a search.  [default: the same, as local processes]")
@click.option("--max-nodes", type=COUNT, help="Rounds of each search.  [default: 3]")
@click.option("--trials", type=click.IntRange(1, 5), help="Trials a round.  [default: 2]")
@click.option("--throttle", type=COUNT, help="Searches at once.  [default: what this machine bears; Slurm: no limit]")
@click.option(
    "--search-cpu-hours", type=click.FloatRange(min=0, min_open=True), help="Cap on the CPU-hours of each search."
)
@click.option("--name", help="Name of the sweep; default: sweep and a number.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@click.pass_context
def command(ctx: click.Context, /, *, yes: bool, dry_run: bool, **options: Any) -> None:
    """Run the suite ftbench-mini: ten small tasks, one for each broad capability, made from seeds, with the built-in model.

    It is a sweep with a small budget: one search a task, no repeats, and its table and that of ftbench table in the end. On a Slurm profile it is one array, which is
    waited for; Ctrl-C ends the waiting only. Cut off, it goes on with hpc-trex sweep resume.
    """
    from hpc_trex.cli.sweep_launch import sent
    from hpc_trex.sweep.mini import mini_request

    request = mini_request({key: value for key, value in options.items() if value is not None})
    code = sent(request, yes=yes, dry_run=dry_run, wait=True)
    _print_table(str(request.name))
    ctx.exit(code)


def _print_table(name: str) -> None:
    """Print the table of the benchmark, unless nothing was made."""
    from hpc_trex.report.benchmark import bench_rows
    from hpc_trex.report.benchmark_text import table_text
    from hpc_trex.sweep.layout import SweepPaths, sweeps_home
    from hpc_trex.sweep.measured import measured

    if SweepPaths(sweeps_home() / name).config.exists():
        emit(f"\n{table_text(bench_rows(measured((name,), '')), look())}")
