"""``hpc-trex profile init``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import dry_run_option, emit
from hpc_trex.errors import UsageProblem

if TYPE_CHECKING:
    from hpc_trex.slurm.draft import Draft


@click.command(
    "init",
    epilog="\b\nExamples:\n  hpc-trex profile init\n  hpc-trex profile init --partition gpu --account my_project -o mysite.toml",
)
@click.option("--name", default="", help="Name of the profile; default: the cluster's.")
@click.option("--partition", help="Partition to use; default: the best one with GPUs.")
@click.option("--account", help="Account to use; default: none where Slurm takes jobs without.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="File to write; default: NAME.toml, see above.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@dry_run_option
def command(
    name: str, partition: str | None, account: str | None, output: str | None, force: bool, dry_run: bool
) -> None:
    """Write a profile of the cluster that you are on, read from the live Slurm. Type it on a login node.

    Partitions, limits and GPUs come from sinfo and scontrol; which spelling of a request the site takes is tried with
    sbatch --test-only, so that no job is submitted. The file goes to slurm/profiles/ of your site folder where you have
    one (--site, HPC_TREX_SITE), else into this folder.
    """
    from hpc_trex.files import write_atomic
    from hpc_trex.slurm.draft import draft, text
    from hpc_trex.slurm.survey import survey

    if output and not name:
        name = Path(output).stem
    made = draft(survey(), name=name, partition=partition, account=account)
    written = text(made)
    if dry_run:
        emit(f"{written}\nnothing was written (--dry-run)")
        return
    target, known = place(made.profile.name, output)
    if target.exists() and not force:
        raise UsageProblem(f"{target} exists already", hint="add --force to write over it, or name another with -o")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, written)
    emit("\n".join([*summary(made), f"written to {target}", f"next: hpc-trex profile check {known}"]))


def place(name: str, output: str | None) -> tuple[Path, str]:
    """Return the file to write, and the words by which ``--profile`` finds it."""
    if output:
        path = Path(output).expanduser()
        path = path if path.suffix == ".toml" else path.with_name(f"{path.name}.toml")
        return path, str(path)
    own = os.environ.get("HPC_TREX_SITE")
    if own:
        return Path(own).expanduser() / "slurm" / "profiles" / f"{name}.toml", name
    return Path(f"{name}.toml"), f"./{name}.toml"


def summary(made: Draft) -> list[str]:
    """Return what was found, a line each."""
    profile, choice = made.profile, made.choice
    gpus = f"{profile.gpu_request} {profile.gpu_type or ''}".rstrip() if choice.gpu else "none"
    lines = [
        f"partition  {profile.partition}: {choice.why}",
        f"GPUs       {gpus}; {profile.gpus_on_a_node} on a node",
        f"limits     {profile.max_minutes} minutes a job, arrays up to {profile.max_array or 'unknown'}",
        f"accounting {profile.accounting}; preemption {profile.preemption}",
    ]
    if choice.facts.max_minutes is None or choice.facts.max_minutes > choice.max_minutes:
        lines.append("note       the partition allows longer jobs; a day at most is asked for (max_minutes)")
    return lines + [f"note       {note}" for note in made.notes]
