"""``hpc-trex db check``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, pick, reading


@click.command("check", epilog="Example: hpc-trex db check listops-1")
@reading
@click.pass_context
def command(ctx: click.Context, /, search: str | None, last: bool, json: bool) -> None:
    """Compare the database, the snapshot and the files of SEARCH with its events.jsonl; exit 1 when they disagree."""
    from hpc_trex.tree.check import check

    paths = pick(search, last)
    problems = check(paths)
    if json:
        emit_json({"search": paths.root.name, "problems": problems})
    else:
        emit("\n".join(problems) or f"{paths.root.name}: nothing wrong")
    ctx.exit(1 if problems else 0)
