"""``hpc-trex library add``."""

from __future__ import annotations

from pathlib import Path

import click

from hpc_trex.cli.options import emit, emit_json, json_option


@click.command("add")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option(
    "--kind", type=click.Choice(["paper", "note", "card"]), help="What they are; default: .txt paper, .md note or card."
)
@json_option
def command(paths: tuple[Path, ...], kind: str | None, json: bool) -> None:
    """Take in text files (.md, .txt), folders of them, and other libraries.

    A file that changed takes the place of its old text; the same text is kept once. PDFs are not read: use pdftotext.
    """
    from hpc_trex.layout import library
    from hpc_trex.research.library import Library

    own = Library(library())
    added = own.add(paths, kind=kind)
    if json:
        refused = [one._asdict() for one in added.refused]
        emit_json({"library": str(own.path), **added._asdict(), "refused": refused})
        return
    emit(f"{added.new} new, {added.replaced} changed, {added.known} known already, in {own.path}")
    for one in added.refused:
        click.echo(f"not taken: {one.name}: {one.why}", err=True)
