"""``hpc-trex sweep launch``: resolve, show the plan and its worst cost, make the folder, submit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpc_trex.cli.llm_options import given_llm, llm_options
from hpc_trex.cli.options import dry_run_option, emit
from hpc_trex.cli.sweep_options import Names, Numbers
from hpc_trex.errors import ClusterRefused, UsageProblem

if TYPE_CHECKING:
    from hpc_trex.sweep.plan import SweepPlan
    from hpc_trex.sweep.records import SweepRequest

COUNT = click.IntRange(min=1)


@click.command(
    "launch",
    epilog="\b\nExamples:\n"
    "  hpc-trex sweep launch --tasks mini-triage,mini-extract --seeds 0-2 --profile mycluster --throttle 4\n"
    "  hpc-trex sweep launch --file sweep.toml --dry-run",
)
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The same as keys of a TOML file."
)
@click.option("--tasks", type=Names(), help="Built-in tasks or paths of task cards.  [default: mini-triage]")
@click.option("--suite", help="In place of --tasks: ftbench, ftbench-mini, or a folder of task cards.")
@click.option("--source", multiple=True, metavar="TASK:NAME=FILE", help="Bring training rows to a task.")
@click.option("--models", type=Names(), help="builtin:NAME, folders or hub ids.  [default: builtin:tiny-qwen3]")
@click.option("--seeds", type=Numbers(), help="Seeds of the searches.  [default: 0]")
@click.option("--researchers", type=Names(), help="Who designs rounds.  [default: playbook]")
@click.option("--policies", type=Names(), help="Which round is built on next.  [default: uct]")
@click.option(
    "--without", type=Names(), help="Take parts of them away: nothing, bad-cases, insights.  [default: nothing]"
)
@click.option("--baseline", is_flag=True, default=None, help="Evaluate each base model alone as well, once a task.")
@click.option(
    "--reference-model",
    "reference_models",
    type=Names(),
    help="Models that are evaluated once a task and never trained.",
)
@click.option("--baseline-only", is_flag=True, default=None, help="Evaluate the base models and search nothing.")
@click.option("--profile", help="Where elements run: a profile's name or file.  [default: local]")
@click.option("--inner-profile", help="Profile of the jobs inside an element.  [default: the same, as local processes]")
@click.option("--throttle", type=COUNT, help="Elements at once.")
@click.option("--chunk", type=COUNT, help="Elements in one array at most.")
@click.option("--minutes", type=COUNT, help="Time limit of one element.")
@click.option("--parallel", type=COUNT, help="Jobs at once inside an element.  [default: 1]")
@click.option("--max-nodes", type=COUNT, help="Rounds of each search.  [default: 6]")
@click.option("--trials", type=click.IntRange(1, 5), help="Trials a round.  [default: 2]")
@click.option("--gpu-hours", type=click.FloatRange(min=0, min_open=True), help="Cap on the sweep's GPU-hours at worst.")
@click.option(
    "--search-gpu-hours", type=click.FloatRange(min=0, min_open=True), help="Cap on the GPU-hours of each search."
)
@click.option(
    "--search-cpu-hours", type=click.FloatRange(min=0, min_open=True), help="Cap on the CPU-hours of each search."
)
@llm_options
@click.option(
    "--knowledge/--no-knowledge", default=None, help="Start from earlier searches, and be remembered.  [default: no]"
)
@click.option("--name", help="Name of the sweep; default: sweep and a number.")
@click.option("--drop-overlap", is_flag=True, default=None, help="Drop training rows that stand in dev or test.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@click.pass_context
def command(ctx: click.Context, /, *, file: Path | None, yes: bool, dry_run: bool, **options: Any) -> None:
    """Send tasks x models x seeds x Researchers x policies as one throttled array; each element is a whole search.

    On a profile without Slurm the elements run here, one after the other, and the table follows.
    """
    from hpc_trex.sweep.plan import read_request

    llm = given_llm(options)
    given = {key: value for key, value in options.items() if value not in (None, ())} | ({"llm": llm} if llm else {})
    ctx.exit(sent(read_request(file, given), yes=yes, dry_run=dry_run))


def sent(request: SweepRequest, *, yes: bool, dry_run: bool, wait: bool = False) -> int:
    """Show the plan of a sweep, ask, make its folder and submit it, or run it here; return the exit code.

    ``wait``: of what was submitted, until it is over.
    """
    from hpc_trex.cli.sweep_resume import started
    from hpc_trex.slurm.scheduler import SubmitUnavailable
    from hpc_trex.sweep.plan import create_sweep, plan_lines, plan_sweep
    from hpc_trex.sweep.script import ask_slurm

    plan = plan_sweep(request)
    config = plan.config
    arrays = first_arrays(plan)
    emit("\n".join([*plan_lines(config, len(config.elements()), len(arrays)), *plan.more]))
    if arrays:
        emit(ask_slurm(plan.paths, config))
    if dry_run:
        for script in arrays:
            emit(f"\n{script}".rstrip())
        emit("\nnothing was made or submitted (--dry-run)")
        return 0
    if not yes and not agreed(config.profile.scheduler):
        emit("nothing was made or submitted")
        return 0
    paths = create_sweep(plan)
    try:
        code = started(paths, config.name, None)
    except (ClusterRefused, SubmitUnavailable) as error:
        error.hint = f"{error.hint}; the sweep is made: hpc-trex sweep resume {config.name}"
        raise
    if not wait or config.profile.scheduler != "slurm":
        return code
    from hpc_trex.cli.sweep_wait import waited
    from hpc_trex.sweep.folder import read_config

    return waited(paths, read_config(paths))


def first_arrays(plan: SweepPlan) -> list[str]:
    """Return the scripts of the arrays that a launch would submit; none on this machine."""
    from hpc_trex.sweep.script import render
    from hpc_trex.sweep.submit import plan_arrays

    config = plan.config
    if config.profile.scheduler != "slurm":
        return []
    numbers = [element.number for element in config.elements()]
    return [render(plan.paths, config, record, chunk) for record, chunk in plan_arrays(config, [], [], numbers)]


def agreed(scheduler: str) -> bool:
    """Ask on a terminal; elsewhere what goes to a cluster needs ``-y``. Raises :class:`UsageProblem`."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return click.confirm("start it?", default=True)
    if scheduler != "local":
        raise UsageProblem("sweep launch would submit jobs to a cluster and cannot ask here", hint="add -y to agree")
    return True
