"""``hpc-trex reproduce``: a round once more, and whether its score comes out again."""

from __future__ import annotations

from pathlib import Path

import click

from hpc_trex.cli.by_hand import say
from hpc_trex.cli.options import emit, emit_json, json_option, number_of, pick


@click.command("reproduce", epilog="Example: hpc-trex reproduce triage-1 4 && echo it holds")
@click.argument("search")
@click.argument("node")
@click.option(
    "--to", "target", type=click.Path(file_okay=False), help="Folder of the new jobs.  [default: SEARCH-nodeN-again]"
)
@json_option
@click.pass_context
def command(ctx: click.Context, search: str, node: str, target: str | None, json: bool) -> None:
    """Prepare, train and evaluate the best trial of NODE again, on this machine; exit 0 if its score lies in the recorded interval, else 1."""
    from hpc_trex.by_hand.recorded import recorded
    from hpc_trex.by_hand.reproduce import reproduce

    what = recorded(pick(search), number_of(node))
    out = Path(target or f"{what.config.name}-node{what.node.id}-again").absolute()
    again = reproduce(what, out, say)
    if json:
        scores = {name: score.model_dump(mode="json") for name, score in (("then", again.then), ("now", again.now))}
        emit_json(
            {"node": what.node.id, "trial": what.trial.trial, "inside": again.inside, "folder": str(out)} | scores
        )
    else:
        where = "inside" if again.inside else "OUTSIDE"
        emit(
            f"node {what.node.id} trial {what.trial.trial}: {again.now.metric} {again.now.value:.4f} now, {again.then.value:.4f} "
            f"then: {where} the recorded interval [{again.then.low:.4f}, {again.then.high:.4f}]"
        )
    ctx.exit(0 if again.inside else 1)
