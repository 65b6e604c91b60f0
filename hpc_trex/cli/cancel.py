"""``hpc-trex cancel``: end a search, or one round of it, together with its jobs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import dry_run_option, emit, last_option, number_of, pick
from hpc_trex.errors import LeaseHeld

if TYPE_CHECKING:
    from hpc_trex.layout import SearchPaths


@click.command("cancel", epilog="\b\nExamples:\n  hpc-trex cancel 3 listops-1\n  hpc-trex cancel listops-1")
@click.argument("node", required=False)
@click.argument("search", required=False)
@last_option
@dry_run_option
def command(node: str | None, search: str | None, last: bool, dry_run: bool) -> None:
    """End SEARCH and all its jobs; with NODE only that round. A cancelled job is never tried again.

    A single word that is no number names the search.
    """
    if node is not None and search is None and not node.isdecimal():
        node, search = None, node
    number = None if node is None else number_of(node)
    paths = pick(search, last)
    jobs = live_jobs(paths, number)
    what = f"search {paths.root.name}" if number is None else f"node {number} of {paths.root.name}"
    if dry_run:
        emit("\n".join([f"would cancel {what} and {len(jobs)} job(s)", *jobs]))
        return
    emit("\n".join(ask_or_do(paths, number, what)))


def live_jobs(paths: SearchPaths, node: int | None) -> list[str]:
    """Return the jobs that a cancel would end, one line each. Raises NotFound for an unknown node."""
    from hpc_trex.tree.store import Store

    with Store.read(paths) as reader:
        if node is not None:
            reader.node(node)
        running = reader.status().running
    return [
        f"  node {job.node} trial {job.trial}: job {job.job_id or '-'} {job.state.value}"
        for job in running
        if node in (None, job.node)
    ]


def ask_or_do(paths: SearchPaths, node: int | None, what: str) -> list[str]:
    """Cancel here when no controller is at work; else leave it a request, which it obeys at its next tick."""
    from hpc_trex.controller import Controller
    from hpc_trex.files import write_atomic

    try:
        controller = Controller(paths)
    except LeaseHeld as held:
        write_atomic(paths.stop_request, json.dumps({"action": "cancel", "node": node}) + "\n")
        return [f"asked the controller to cancel {what}; it does so at its next tick ({held.message})"]
    try:
        return [*controller.cancel(node), f"{what} cancelled"]
    finally:
        controller.close()
