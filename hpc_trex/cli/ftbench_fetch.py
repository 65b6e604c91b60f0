"""``hpc-trex ftbench fetch``: bring the data of the tasks to the site, where there is network."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import dry_run_option, emit, emit_json, json_option
from hpc_trex.errors import TrexError

if TYPE_CHECKING:
    from hpc_trex.staging.benchmark import Fetched


@click.command(
    "fetch",
    epilog="\b\nExamples:\n  hpc-trex ftbench fetch aci-bench\n  hpc-trex ftbench fetch --accept\n"
    "  hpc-trex ftbench fetch my-task.toml --into /shared/trex-stage",
)
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option("--accept", is_flag=True, help="Agree to what the sources ask for (ftbench show says what).")
@click.option("--profile", help="The site: readable for the group where the profile shares.")
@click.option(
    "--into", type=click.Path(file_okay=False), help="Folder; default: the first of HPC_TREX_STAGE, else the cache."
)
@dry_run_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    tasks: tuple[str, ...],
    accept: bool,
    profile: str | None,
    into: str | None,
    dry_run: bool,
    json: bool,
) -> None:
    """Download the data of each TASK (all of FT-Bench, where none is named) at pinned revisions and build its tables.

    Run it where there is network (a login node); launches and jobs then need none. All or nothing: an interrupted run
    leaves nothing in place, and the next one goes on. What is here already is left alone.
    """
    from hpc_trex.ftbench.cards import load_card
    from hpc_trex.ftbench.overview import TEN
    from hpc_trex.staging.benchmark import fetch_task
    from hpc_trex.staging.stage import closing_words, target

    root, group = target(into), _shares(profile)
    say = partial(click.echo, err=True)
    done: list[Fetched] = []
    failed: list[tuple[str, TrexError]] = []
    for task in tasks or TEN:
        try:
            loaded = load_card(task)
            done.append(fetch_task(loaded, root, say=say, accept=accept, group=group, dry_run=dry_run))
        except TrexError as error:
            if len(tasks) == 1:
                raise
            failed.append((task, error))
            click.echo(f"error: {task}: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), err=True)
    if json:
        errors = [{"task": task, "error": error.message, "hint": error.hint} for task, error in failed]
        emit_json({"folder": str(root), "tasks": [_json(one) for one in done], "failed": errors})
    else:
        emit("\n".join(line for one in done for line in _lines(one)) or "nothing was fetched")
        if any(one.state == "fetched" for one in done) and (words := closing_words(root)):
            emit(words)
    ctx.exit(failed[0][1].exit_code if failed else 0)


def _shares(profile: str | None) -> bool:
    if profile is None:
        return False
    from hpc_trex.slurm.profiles import load_profile

    return load_profile(profile).share == "group"


def _lines(one: Fetched) -> list[str]:
    words = {"fetched": "fetched", "already": "already here", "would fetch": "would fetch"}[one.state]
    rows = ""
    if one.built is not None:
        rows = ": " + ", ".join(f"{name} {table.rows}" for name, table in one.built.item.tables.items()) + " rows"
    notes = list(one.notes)
    if one.built is not None:
        licences = dict.fromkeys(each.licence for each in one.built.item.downloads.values())
        notes.insert(0, f"licence: {'; '.join(licences)}")
    if one.built is not None and one.state == "fetched":
        notes += [
            f"{rows} rows of {name} stand in another split: left out" for name, rows in one.built.item.dropped.items()
        ]
    return [f"{words:<14} {one.task}{rows}", *(f"{'':<14} {note}" for note in notes)]


def _json(one: Fetched) -> dict[str, object]:
    built = None if one.built is None else one.built.item.model_dump(mode="json")
    return {"task": one.task, "state": one.state, "folder": str(one.folder), "notes": list(one.notes), "build": built}
