"""``hpc-trex logs``: the output of one job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import emit_json, json_option, last_option, number_of, pick, search_argument
from hpc_trex.errors import NotFound, UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    from hpc_trex.layout import SearchPaths
    from hpc_trex.models import AttemptView
    from hpc_trex.tree.store import Store


@click.command("logs", epilog="Example: hpc-trex logs 3 --trial 2 -f")
@click.argument("node")
@search_argument
@last_option
@click.option("-f", "--follow", is_flag=True, help="Go on as the job writes; Ctrl-C leaves the job alone.")
@click.option(
    "--trial", type=click.IntRange(min=0), help="Trial; 0 is the preparation. Default: one that runs, else the last."
)
@click.option("--attempt", type=click.IntRange(min=1), help="Attempt of the trial; default: the last.")
@click.option("--stderr", is_flag=True, help="What the job wrote to stderr.")
@click.option(
    "--lines", type=click.IntRange(min=0), default=200, show_default=True, help="Lines from the end; 0 is all."
)
@json_option
def command(
    *, node: str, search: str | None, last: bool, follow: bool, trial: int | None, attempt: int | None, stderr: bool,
    lines: int, json: bool,
) -> None:  # fmt: skip
    """Print what a job of round NODE wrote."""
    from hpc_trex.cli.tail import follow_file
    from hpc_trex.layout import AttemptPaths
    from hpc_trex.tree.store import Store

    if follow and json:
        raise UsageProblem("--follow and --json exclude each other", hint="read the file that --json names")
    paths = pick(search, last)
    with Store.read(paths) as reader:
        job = choose_attempt(reader, number_of(node), trial, attempt)
    files = AttemptPaths(paths.root / job.directory)
    path = files.stderr if stderr else files.stdout
    lines_shown = log_lines(paths, job.node, path, lines)
    if json:
        place = {"node": job.node, "trial": job.trial, "attempt": job.attempt, "state": job.state.value}
        emit_json({"search": paths.root.name, **place, "path": str(path), "lines": lines_shown})
        return
    click.echo(f"node {job.node} trial {job.trial} attempt {job.attempt} ({job.state.value}): {path}", err=True)
    if not path.exists() and not lines_shown and not follow:
        waits = job.reason or ("it has not started" if job.host == "" else "it wrote nothing")
        click.echo(f"no output yet: {waits}", err=True)
    for line in lines_shown:
        click.echo(line)
    if follow:
        for line in follow_file(path, over=files.result.exists):
            click.echo(line)


def log_lines(paths: SearchPaths, node: int, path: Path, count: int) -> list[str]:
    """Return the last lines of a log, from the round's archive where ``gc`` has packed it."""
    from hpc_trex.cli.tail import clean, tail_lines
    from hpc_trex.report.packed import packed

    raw = None if path.exists() else packed(paths, node, path)
    if raw is None:
        return tail_lines(path, count)
    lines = [clean(line) for line in raw.decode(errors="replace").splitlines()]
    return lines[-count:] if count else lines


def choose_attempt(reader: Store, node: int, trial: int | None, attempt: int | None) -> AttemptView:
    """Return the job that is meant: in the named trial, else one that runs, else the last of the round.

    Raises :class:`NotFound` naming what there is.
    """
    reader.node(node)
    every = reader.attempts(node)
    jobs = [job for job in every if trial in (None, job.trial) and attempt in (None, job.attempt)]
    if not jobs:
        known = [f"trial {job.trial} attempt {job.attempt}" for job in every]
        raise NotFound(
            f"node {node} has no such job" if known else f"node {node} has no job yet", hint=", ".join(known)
        )
    running = [job for job in jobs if job.state.value == "running"]
    return (running or jobs)[-1]
