"""``hpc-trex reject``: have something else proposed than what waits for a person (``launch --approve``)."""

from __future__ import annotations

import click

from hpc_trex.cli.options import dry_run_option, last_option, search_argument


@click.command("reject", epilog='Example: hpc-trex reject 7 listops-1 --note "the crowd rows may not be used"')
@click.argument("node")
@search_argument
@last_option
@click.option("--note", default="", metavar="TEXT", help="Why; it reaches the Researcher.")
@dry_run_option
def command(node: str, search: str | None, last: bool, note: str, dry_run: bool) -> None:
    """Reject what waits for a person at NODE of SEARCH. It is not proposed again.

    A Researcher with a language model proposes another, with the note in its question.
    """
    from hpc_trex.cli.deciding import answer

    answer("reject", node, search, last=last, note=note, dry_run=dry_run)
