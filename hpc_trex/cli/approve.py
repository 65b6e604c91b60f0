"""``hpc-trex approve``: let a search go on that waits for a person (``launch --approve``)."""

from __future__ import annotations

import click

from hpc_trex.cli.options import dry_run_option, last_option, search_argument


@click.command("approve", epilog='Example: hpc-trex approve 7 listops-1 --note "keep the mixture"')
@click.argument("node")
@search_argument
@last_option
@click.option("--note", default="", metavar="TEXT", help="A word that reaches the Researcher.")
@dry_run_option
def command(node: str, search: str | None, last: bool, note: str, dry_run: bool) -> None:
    """Approve what waits for a person at NODE of SEARCH: the brief (0), a direction, or a plan.

    hpc-trex status says what waits, hpc-trex show NODE shows it.
    """
    from hpc_trex.cli.deciding import answer

    answer("approve", node, search, last=last, note=note, dry_run=dry_run)
