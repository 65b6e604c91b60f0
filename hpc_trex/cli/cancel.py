"""``hpc-trex cancel``: end a search, or some rounds of it, together with their jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import dry_run_option, emit, last_option, number_of, pick
from hpc_trex.errors import UsageProblem

if TYPE_CHECKING:
    from hpc_trex.layout import SearchPaths


@click.command(
    "cancel",
    epilog="\b\nExamples:\n  hpc-trex cancel 3 listops-1\n  hpc-trex cancel 3 --subtree\n  hpc-trex cancel listops-1",
)
@click.argument("node", required=False)
@click.argument("search", required=False)
@last_option
@click.option("--subtree", is_flag=True, help="Also every round that was built on NODE.")
@dry_run_option
def command(node: str | None, search: str | None, last: bool, subtree: bool, dry_run: bool) -> None:
    """End SEARCH and all its jobs; with NODE only that round. A cancelled job is never tried again.

    A single word that is no number names the search. What was cancelled by mistake: hpc-trex retry.
    """
    if node is not None and search is None and not node.isdecimal():
        node, search = None, node
    number = None if node is None else number_of(node)
    if subtree and number is None:
        raise UsageProblem("--subtree needs a NODE", hint="hpc-trex cancel NODE [SEARCH] --subtree")
    paths = pick(search, last)
    what = f"search {paths.root.name}" if number is None else f"node {number} of {paths.root.name}"
    what += " and all below it" if subtree else ""
    jobs = jobs_of(paths, number, subtree=subtree)
    if dry_run:
        emit("\n".join([f"would cancel {what} and {len(jobs)} job(s)", *jobs]))
        return
    emit("\n".join(ask_or_do(paths, number, what, subtree=subtree)))


def jobs_of(paths: SearchPaths, node: int | None, *, subtree: bool) -> list[str]:
    """Return the jobs that a cancel would end, one line each. Raises NotFound for an unknown node."""
    from hpc_trex.cli.asking import live_jobs
    from hpc_trex.controller.control import wanted_nodes
    from hpc_trex.controller.requests import Request
    from hpc_trex.tree.store import Store

    with Store.read(paths) as reader:
        return live_jobs(reader, wanted_nodes(reader, Request(action="cancel", node=node, subtree=subtree)))


def ask_or_do(paths: SearchPaths, node: int | None, what: str, *, subtree: bool = False) -> list[str]:
    """Cancel here when no controller is at work; else leave it a request, which it obeys at its next tick."""
    from hpc_trex.cli.asking import do_or_leave
    from hpc_trex.controller.requests import Request

    request = Request(action="cancel", node=node, subtree=subtree)
    return do_or_leave(paths, request, f"cancel {what}", f"{what} cancelled")
