"""``hpc-trex train``: one training by hand, without a search."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from hpc_trex.cli.by_hand import outcome, say
from hpc_trex.cli.options import json_option


@click.command("train", epilog="\b\nExamples:\n  hpc-trex train mine.toml\n  hpc-trex train mine.toml --resume --json")
@click.argument("spec", type=click.Path(dir_okay=False))
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint, or follow the job that runs still.")
@json_option
@click.pass_context
def command(ctx: click.Context, spec: str, resume: bool, json: bool) -> None:
    """Train as the TOML file SPEC says, on this machine, and evaluate on its task's dev rows. Ctrl-C saves a checkpoint."""
    from hpc_trex.by_hand.run import Hand
    from hpc_trex.by_hand.spec import read_spec

    result = Hand(read_spec(Path(spec)), say).train(resume=resume)
    ctx.exit(outcome(result, json=json, again=f"hpc-trex train {quote(spec)} --resume"))
