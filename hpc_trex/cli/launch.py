"""``hpc-trex launch``: start a search and watch it, or leave it to a controller in the background."""

from __future__ import annotations

import sys
from typing import Any

import click

from hpc_trex.cli.llm_options import given_llm, llm_options
from hpc_trex.cli.options import dry_run_option, emit
from hpc_trex.cli.sweep_options import Names
from hpc_trex.errors import UsageProblem

POLICIES = ("uct", "greedy", "sequential", "random")
RESEARCHERS = ("playbook", "llm", "tpe", "random")
COUNT = click.IntRange(min=1)
AMOUNT = click.FloatRange(min=0, min_open=True)


@click.command(
    "launch",
    epilog="\b\nExamples:\n  hpc-trex launch\n  hpc-trex launch --task my-task.toml --model Qwen/Qwen3-1.7B --profile mycluster --max-nodes 12 -d",
)
@click.option("--task", default="mini-triage", show_default=True, help="Built-in task, a card's path, or lm-eval:NAME.")
@click.option(
    "--source", multiple=True, metavar="NAME=FILE", help="Bring training rows: prompt and answer, or as the task's."
)
@click.option("--model", default="builtin:tiny-qwen3", show_default=True, help="builtin:NAME, a folder, or a hub id.")
@click.option("--profile", default="local", show_default=True, help="Where jobs run: a profile's name or file.")
@click.option("--name", help="Name of the search; default: the task's name and a number.")
@click.option(
    "--directory", type=click.Path(file_okay=False), help="Folder of the search; default: under HPC_TREX_HOME."
)
@click.option("--max-nodes", type=COUNT, help="Rounds, without the baseline.")
@click.option("--trials", type=click.IntRange(1, 5), help="Trials a round.")
@click.option("--parallel", type=COUNT, help="Jobs at once; default: what the profile bears.")
@click.option("--processes", type=COUNT, help="Training processes a node; each takes a GPU where there are GPUs.")
@click.option("--minutes", type=COUNT, help="Time limit of one training job.")
@click.option(
    "--policy", type=click.Choice(POLICIES), default="uct", show_default=True, help="Which round is built on next."
)
@click.option(
    "--researcher", type=click.Choice(RESEARCHERS), default="playbook", show_default=True, help="Who designs rounds."
)
@click.option("--without", type=Names(), default=(), help="Take parts of it away: bad-cases, insights.")
@llm_options
@click.option(
    "--llm-serve", nargs=2, metavar="PROFILE MODEL", help="Serve MODEL (a folder or staged hub id) as a job of PROFILE."
)
@click.option("--replay", metavar="SEARCH", help="Give the recorded answers of that search again, asking nobody.")
@click.option(
    "--knowledge/--no-knowledge",
    default=True,
    show_default=True,
    help="Start from earlier searches, and be remembered.",
)
@click.option("--approve", type=Names(), default=(), help="Wait for you at these: requirements, strategy, data.")
@click.option(
    "--eval-scoring",
    type=click.Choice(["same-job", "own-job"]),
    default="same-job",
    show_default=True,
    help="Where answers are scored; own-job: one without a GPU, in the environment of the profile's score.",
)
@click.option(
    "--eval-backend",
    type=click.Choice(["hf", "auto", "vllm"]),
    default="hf",
    show_default=True,
    help="What answers in evaluations; auto: vLLM where it is.",
)
@click.option("--gpu-hours", type=AMOUNT, help="Cap on GPU-hours.")
@click.option("--cpu-hours", type=AMOUNT, help="Cap on CPU-hours.")
@click.option("--wall-minutes", type=AMOUNT, help="Cap on the time of this run.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the search.")
@click.option(
    "--drop-overlap", is_flag=True, help="Drop training rows that stand in dev or test, instead of refusing them."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-d", "--detach", is_flag=True, help="Leave the search to a background controller and return.")
@click.option("--as-job", is_flag=True, help="Run the controller as a small job that keeps itself going.")
@click.option("--in-allocation", is_flag=True, help="Run jobs as steps of the allocation that this is typed in.")
@dry_run_option
@click.pass_context
def command(
    ctx: click.Context, /, *, yes: bool, detach: bool, as_job: bool, dry_run: bool, **options: Any
) -> None:  # fmt: skip
    """Start a search: the plan and its worst cost are shown first. Ctrl-C stops watching, never a job."""
    from hpc_trex.launch import LaunchOptions, create_search, plan_launch

    one_way(detach=detach, as_job=as_job, in_allocation=options["in_allocation"])
    llm = given_llm(options)
    stage_lm_eval(options["task"], options["profile"])
    plan = plan_launch(LaunchOptions(**options, llm=llm))
    emit("\n".join(plan.lines))
    if dry_run:
        emit(f"\nthe first job would be:\n\n{plan.script}\n\nnothing was started (--dry-run)")
        return
    if not yes and not agreed(plan.config.profile.scheduler):
        emit("nothing was started")
        ctx.exit(1)
    paths = create_search(plan)
    from hpc_trex.cli.background import detached
    from hpc_trex.cli.watch import run_controller

    if as_job:
        from hpc_trex.cli.as_job import submitted

        ctx.exit(submitted(paths, plan.config))
    ctx.exit(detached(paths) if detach else run_controller(paths, color=ctx.color))


def stage_lm_eval(task: str, profile: str) -> None:
    """Stage a task of lm-eval that is not on this machine; with ``network = "none"`` the launch will say what is missing."""
    from hpc_trex.ftbench.lm_eval import PREFIX, parse_target

    if not task.startswith(PREFIX):
        return
    from hpc_trex.slurm.profiles import load_profile
    from hpc_trex.staging.lm_eval import ensure_staged
    from hpc_trex.staging.stage import target

    if load_profile(profile).network != "none":
        ensure_staged(parse_target(task), target(None), say=lambda line: click.echo(line, err=True))


def one_way(*, detach: bool, as_job: bool, in_allocation: bool) -> None:
    """Raise UsageProblem where two ways to run the controller were asked for."""
    if detach + as_job + in_allocation > 1:
        raise UsageProblem(
            "-d, --as-job and --in-allocation are different ways to run the controller: give one",
            hint="docs/long-searches.md says which is for which site",
        )


def agreed(scheduler: str) -> bool:
    """Ask on a terminal and return the answer. Elsewhere only what stays on this machine goes on unasked.

    Raises :class:`UsageProblem` when ``-y`` is needed.
    """
    if sys.stdin.isatty() and sys.stdout.isatty():
        return click.confirm("start it?", default=True)
    if scheduler != "local":
        raise UsageProblem("launch would submit jobs to a cluster and cannot ask here", hint="add -y to agree")
    return True
