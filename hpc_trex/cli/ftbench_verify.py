"""``hpc-trex ftbench verify``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import emit, emit_json, json_option
from hpc_trex.errors import EnvironmentProblem, NotFound, TrexError

if TYPE_CHECKING:
    from hpc_trex.ftbench.built import Built


@click.command("verify", epilog="Example: hpc-trex ftbench verify aci-bench --upstream")
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option("--upstream", is_flag=True, help="Ask upstream as well whether the pinned revisions are still there.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, tasks: tuple[str, ...], upstream: bool, json: bool) -> None:
    """Hash the tables of each TASK (of every build in the stage folders, where none is named) again.

    Exit code 1 when one is not what it was, 8 when one cannot be read.
    """
    from hpc_trex.staging.benchmark_check import damage, upstream_problems

    found, refused = _builds(tasks)
    told, codes = [], [error.exit_code for error in refused]
    for built, again in found:
        item = built.item
        try:
            damaged = damage(built)
        except EnvironmentProblem as error:
            refused.append(error)
            codes.append(error.exit_code)
            continue
        gone = upstream_problems(built) if upstream else []
        told.append({"task": item.task, "build": item.build, "damaged": damaged, "upstream": gone})
        codes += [1] if damaged or gone else []
        if not json:
            words = ("; upstream has lost it" if gone else "; upstream has it still") if upstream else ""
            emit(f"{item.task}  {'DAMAGED' if damaged else 'whole'}{words}")
        for line in (*damaged, *gone):
            click.echo(f"error: {line}", err=True)
        if damaged:
            click.echo(f"hint: {again}", err=True)
    if json:
        emit_json({"tasks": told})
    for problem in refused:
        click.echo(f"error: {problem.message}\nhint: {problem.hint}", err=True)
    ctx.exit(min(codes, default=0))


def _builds(tasks: tuple[str, ...]) -> tuple[list[tuple[Built, str]], list[TrexError]]:
    """Return what is verified, each with the line that mends it, and what cannot be."""
    from hpc_trex.ftbench.built import list_builds, not_yours, removal, require_built
    from hpc_trex.ftbench.cards import load_card
    from hpc_trex.layout import stage_folders

    if not tasks:
        builds, closed = list_builds(stage_folders())
        if not builds and not closed:
            raise NotFound("no task is fetched here", hint="hpc-trex ftbench list")
        return [(built, f"remove it, and fetch it anew if its card still asks for it: {removal(built.folder)}")
                for built in builds], [not_yours(folder) for folder in closed]  # fmt: skip
    found = []
    for loaded in map(load_card, tasks):
        if not loaded.card.tables:
            raise NotFound(f"{loaded.card.name} has no tables that are fetched", hint="hpc-trex ftbench list")
        built = require_built(loaded)
        again = f"{removal(built.folder)}; hpc-trex ftbench fetch {shlex.quote(loaded.typed)}"
        found.append((built, f"fetch it anew: {again}"))
    return found, []
