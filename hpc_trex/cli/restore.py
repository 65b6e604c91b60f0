"""``hpc-trex restore``: let a round count again that a person or the Reviewer has struck."""

from __future__ import annotations

import click

from hpc_trex.cli.options import dry_run_option, last_option, search_argument


@click.command("restore", epilog='Example: hpc-trex restore 3 listops-1 --note "the file was copied, not changed"')
@click.argument("node")
@search_argument
@last_option
@click.option("--note", required=True, metavar="TEXT", help="Why; it stays in the history.")
@dry_run_option
def command(node: str, search: str | None, last: bool, note: str, dry_run: bool) -> None:
    """Let round NODE of SEARCH count again, or those of its trials that were struck.

    It overrules what the Reviewer found in the round's records, for good. A final choice that was made stays.
    """
    from hpc_trex.cli.striking import judge

    judge("restore", node, search, last=last, note=note, dry_run=dry_run)
