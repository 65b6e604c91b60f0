"""``hpc-trex best``: the best round against the baseline."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, look, pick, reading


@click.command("best", epilog="Example: hpc-trex best --json | jq .best.model")
@reading
def command(search: str | None, last: bool, json: bool) -> None:
    """Print the best (or chosen) round against the baseline, and where its model lies."""
    from hpc_trex.cli.json_views import best_json, best_model
    from hpc_trex.report.tables import best_text
    from hpc_trex.tree.store import Store

    with Store.read(pick(search, last)) as reader:
        status = reader.status()
        shown = status.chosen or status.best
        model = best_model(reader.node(shown.node), shown.trial) if shown is not None else None
    if json:
        emit_json(best_json(status, model))
        return
    emit(best_text(status, look()))
    if model is not None:
        emit(f"model     {model.adapter or model.path}" + (f" (adapter of {model.path})" if model.adapter else ""))
