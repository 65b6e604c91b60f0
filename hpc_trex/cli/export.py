"""``hpc-trex export``: a trained model for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from hpc_trex.cli.options import emit, emit_json, json_option, number_of, pick, search_argument


@click.command(
    "export",
    epilog="\b\nExamples:\n  hpc-trex export triage-1 --merge --to my-model\n  hpc-trex export triage-1 4 --to my-adapter",
)
@search_argument
@click.argument("node", required=False)
@click.option("--to", "target", required=True, type=click.Path(file_okay=False), help="Folder to write; new or empty.")
@click.option("--merge", is_flag=True, help="Work the adapter into the base: a whole model for plain transformers.")
@json_option
def command(search: str | None, node: str | None, target: str, merge: bool, json: bool) -> None:
    """Write the model of SEARCH's chosen round, or of NODE, with a model card, its plan and its data's manifest."""
    from hpc_trex.by_hand.export import export
    from hpc_trex.by_hand.recorded import recorded

    what = recorded(pick(search), None if node is None else number_of(node))
    folder = export(what, Path(target).absolute(), merge=merge)
    if json:
        emit_json({"search": what.config.name, "node": what.node.id, "trial": what.trial.trial, "folder": str(folder)})
        return
    kind = "model" if merge or not (what.result.model and what.result.model.adapter) else "adapter"
    emit(f"the {kind} of node {what.node.id} trial {what.trial.trial} is in {folder}; README.md is its card")
