"""``hpc-trex ftbench verify``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, json_option
from hpc_trex.errors import NotFound


@click.command("verify", epilog="Example: hpc-trex ftbench verify aci-bench --upstream")
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option("--upstream", is_flag=True, help="Ask upstream as well whether the pinned revisions are still there.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, tasks: tuple[str, ...], upstream: bool, json: bool) -> None:
    """Hash the tables of each TASK (of all that are fetched) again; exit code 1 when one is not what it was."""
    from hpc_trex.ftbench.built import find_built, require_built
    from hpc_trex.ftbench.cards import list_loaded, load_card
    from hpc_trex.staging.benchmark_check import damage, upstream_problems

    cards = [load_card(task) for task in tasks] or [one for one in list_loaded() if one.card.tables]
    pairs = [(one, require_built(one.card) if tasks and one.card.tables else find_built(one.card)) for one in cards]
    found = [(one, built) for one, built in pairs if built is not None]
    if not found:
        raise NotFound("no task that could be verified is fetched here", hint="hpc-trex ftbench list")
    damaged = {one.card.name: damage(built) for one, built in found}
    gone = {one.card.name: upstream_problems(one) if upstream else [] for one, _ in found}
    if json:
        emit_json({"tasks": [{"task": name, "damaged": damaged[name], "upstream": gone[name]} for name in damaged]})
    for one, built in found:
        name = one.card.name
        if not json:
            words = ("; upstream has lost it" if gone[name] else "; upstream has it still") if upstream else ""
            emit(f"{name}  {'DAMAGED' if damaged[name] else 'whole'}{words}")
        for line in (*damaged[name], *gone[name]):
            click.echo(f"error: {line}", err=True)
        if damaged[name]:
            again = f"chmod -R u+w {built.folder}; rm -r {built.folder}; hpc-trex ftbench fetch {name}"
            click.echo(f"hint: fetch it anew: {again}", err=True)
    ctx.exit(1 if any(damaged.values()) or any(gone.values()) else 0)
