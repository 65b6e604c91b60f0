"""``hpc-trex retry``: run a round again that failed or was cancelled, or one trial of it."""

from __future__ import annotations

import click

from hpc_trex.cli.options import dry_run_option, emit, last_option, number_of, pick, search_argument
from hpc_trex.errors import UsageProblem


@click.command("retry", epilog="Example: hpc-trex retry 3 listops-1 --trial 2")
@click.argument("node")
@search_argument
@last_option
@click.option("--trial", type=click.IntRange(min=1), help="Only this trial of the round.")
@dry_run_option
def command(node: str, search: str | None, last: bool, trial: int | None, dry_run: bool) -> None:
    """Run round NODE of SEARCH again that failed or was cancelled; its attempts are counted anew.

    A round that is done is not run again, nor one of a search whose sealed test has been opened.
    """
    from hpc_trex.cli.asking import do_or_leave
    from hpc_trex.controller.control import why_not_retry
    from hpc_trex.controller.requests import Request
    from hpc_trex.tree.store import Store

    request = Request(action="retry", node=number_of(node), trial=trial)
    paths = pick(search, last)
    with Store.read(paths) as reader:
        why, hint = why_not_retry(reader, request)
    if why:
        raise UsageProblem(why, hint=hint)
    name = paths.root.name
    what = f"node {request.node}" + (f" trial {trial}" if trial else "")
    if dry_run:
        emit(f"would run {what} of {name} again")
        return
    emit("\n".join(do_or_leave(paths, request, f"run {what} again", f"go on with: hpc-trex resume {name}")))
