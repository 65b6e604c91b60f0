"""``hpc-trex tick``: one pass of the controller, for cron and for login nodes that end long processes."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, json_option, last_option, pick, search_argument


@click.command("tick", epilog="Example, a line for crontab -e: */5 * * * * hpc-trex tick listops-1")
@search_argument
@last_option
@json_option
def command(search: str | None, last: bool, json: bool) -> None:
    """Do one short pass on SEARCH (collect, diagnose, select, design, submit) and return."""
    from hpc_trex.cli.watch import one_tick

    state, lines = one_tick(pick(search, last))
    if json:
        emit_json({"state": state, "lines": lines})
    else:
        emit("\n".join([*lines, f"search {state}"]))
