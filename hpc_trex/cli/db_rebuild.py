"""``hpc-trex db rebuild``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import dry_run_option, emit, last_option, pick, search_argument


@click.command("rebuild", epilog="Example: hpc-trex db rebuild listops-1")
@search_argument
@last_option
@dry_run_option
def command(search: str | None, last: bool, dry_run: bool) -> None:
    """Make tree.db of SEARCH anew from its events.jsonl, when no controller is at work."""
    from hpc_trex.tree.check import check, rebuild

    paths = pick(search, last)
    if dry_run:
        emit("\n".join([*check(paths), f"would make {paths.db} again from {paths.events}"]))
        return
    count = rebuild(paths)
    emit(f"{paths.db} made again from {count} events")
