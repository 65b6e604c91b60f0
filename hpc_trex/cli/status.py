"""``hpc-trex status``: state, scores and cost of one search."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, look, pick, reading


@click.command("status", epilog="Example: hpc-trex status listops-1 --json")
@reading
def command(search: str | None, last: bool, json: bool) -> None:
    """Show state, scores and cost of SEARCH (a name or a path; default: the newest)."""
    from hpc_trex.cli.json_views import status_json
    from hpc_trex.report.tables import status_text
    from hpc_trex.tree.store import Store

    with Store.read(pick(search, last)) as reader:
        status = reader.status()
    if json:
        emit_json(status_json(status))
    else:
        emit(status_text(status, look()))
