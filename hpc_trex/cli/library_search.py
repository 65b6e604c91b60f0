"""``hpc-trex library search``."""

from __future__ import annotations

import textwrap

import click

from hpc_trex.cli.options import emit, emit_json, json_option, look


@click.command("search")
@click.argument("words", nargs=-1, required=True, metavar="QUERY...")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="Documents that are shown.")
@json_option
def command(words: tuple[str, ...], limit: int, json: bool) -> None:
    """Show the documents that answer best, each with its best passage. Nothing in a query is syntax."""
    from hpc_trex.layout import library
    from hpc_trex.research.library import Library

    findings = Library(library()).find(" ".join(words), limit=limit)
    if json:
        emit_json({"findings": [{**found._asdict(), "extra": dict(found.extra)} for found in findings]})
        return
    width = min(look().width or 100, 110)
    for found in findings:
        emit(f"{found.id}  {found.title}  [{found.kind}, licence {found.licence}]")
        emit(textwrap.fill(found.summary, width, initial_indent="    ", subsequent_indent="    ") + "\n")
    if not findings:
        emit("nothing was found")
