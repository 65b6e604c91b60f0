"""``hpc-trex tree``: the search tree with scores."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, look, pick, reading


@click.command("tree", epilog="Example: hpc-trex tree listops-1")
@reading
def command(search: str | None, last: bool, json: bool) -> None:
    """Print the search tree: score, gain over the baseline, trials and state of every round."""
    from hpc_trex.cli.json_views import tree_json
    from hpc_trex.report.gates import waiting_text
    from hpc_trex.report.tables import tree_text
    from hpc_trex.tree.store import Store

    with Store.read(pick(search, last)) as reader:
        nodes, status, higher = reader.nodes(), reader.status(), reader.higher_is_better
    if json:
        emit_json(tree_json(status, nodes))
        return
    best = status.chosen or status.best
    emit(tree_text(nodes, best=best.node if best else None, higher=higher, look=look()))
    if status.waits_for is not None:
        emit(f"\n{waiting_text(status.waits_for)}")
