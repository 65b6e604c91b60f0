"""``hpc-trex evaluate``: one evaluation by hand, without a search."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from hpc_trex.cli.by_hand import outcome, say
from hpc_trex.cli.options import json_option


@click.command("evaluate", epilog="Example: hpc-trex evaluate mine.toml --json | jq .result.scores.main")
@click.argument("spec", type=click.Path(dir_okay=False))
@json_option
@click.pass_context
def command(ctx: click.Context, spec: str, json: bool) -> None:
    """Evaluate the model of the TOML file SPEC, with its adapter, on its task's dev rows, on this machine."""
    from hpc_trex.by_hand.run import Hand
    from hpc_trex.by_hand.spec import read_spec

    result = Hand(read_spec(Path(spec)), say).evaluate()
    ctx.exit(outcome(result, json=json, again=f"hpc-trex evaluate {quote(spec)}"))
