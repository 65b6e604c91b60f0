"""``hpc-trex pause``: let a search start no more jobs until ``resume``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import dry_run_option, emit, last_option, pick, search_argument
from hpc_trex.errors import UsageProblem

OVER = ("done", "failed", "cancelled")


@click.command("pause", epilog="Example: hpc-trex pause listops-1 --cancel-jobs")
@search_argument
@last_option
@click.option("--cancel-jobs", is_flag=True, help="End the jobs that run or wait; resume runs them again.")
@dry_run_option
def command(search: str | None, last: bool, cancel_jobs: bool, dry_run: bool) -> None:
    """Start no more jobs of SEARCH; the controller ends. Jobs that run go on, and the next resume collects them."""
    from hpc_trex.cli.asking import do_or_leave, live_jobs
    from hpc_trex.controller.requests import Request
    from hpc_trex.tree.store import Store

    paths = pick(search, last)
    with Store.read(paths) as reader:
        state, jobs = reader.state()[0].value, live_jobs(reader)
    name = paths.root.name
    if state in OVER:
        raise UsageProblem(f"search {name} is {state}: there is nothing to pause", hint=f"hpc-trex status {name}")
    fate = "end" if cancel_jobs else "leave"
    if dry_run:
        emit("\n".join([f"would pause search {name} and {fate} {len(jobs)} job(s)", *jobs]))
        return
    go_on = f"search {name} is paused; go on with: hpc-trex resume {name}"
    request = Request(action="pause", cancel_jobs=cancel_jobs)
    emit("\n".join(do_or_leave(paths, request, f"pause {name}", go_on)))
