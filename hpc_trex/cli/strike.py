"""``hpc-trex strike``: take a round's result out of the tree because a person does not believe it."""

from __future__ import annotations

import click

from hpc_trex.cli.options import dry_run_option, last_option, search_argument


@click.command("strike", epilog='Example: hpc-trex strike 3 listops-1 --note "its rows came from the test server"')
@click.argument("node")
@search_argument
@last_option
@click.option("--note", required=True, metavar="TEXT", help="Why; it stays in the history.")
@dry_run_option
def command(node: str, search: str | None, last: bool, note: str, dry_run: bool) -> None:
    """Strike the result of round NODE of SEARCH: it is no best round, no evidence, and nothing is built on it.

    Rounds that were built on it keep their own results. Undone by: hpc-trex restore. The chosen round cannot be struck.
    """
    from hpc_trex.cli.striking import judge

    judge("strike", node, search, last=last, note=note, dry_run=dry_run)
