"""``hpc-trex show``: all that is known of one round."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, json_option, last_option, look, number_of, pick, search_argument


@click.command("show", epilog="Example: hpc-trex show 3 listops-1")
@click.argument("node")
@search_argument
@last_option
@json_option
def command(node: str, search: str | None, last: bool, json: bool) -> None:
    """Show round NODE of SEARCH: plan, data recipe, difference from its parent, trials, jobs, diagnosis."""
    from hpc_trex.cli.json_views import node_json
    from hpc_trex.report.difference import plan_difference
    from hpc_trex.report.tables import node_text
    from hpc_trex.tree.store import Store

    with Store.read(pick(search, last)) as reader:
        view = reader.node(number_of(node))
        attempts = reader.attempts(view.id)
        parent = None if view.parent is None else reader.node(view.parent)
    difference = plan_difference(parent, view)
    if json:
        emit_json(node_json(view, attempts, difference))
    else:
        emit(node_text(view, attempts, difference, look()))
