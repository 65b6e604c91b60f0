"""``hpc-trex library list``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, json_option, look


@click.command("list")
@json_option
def command(json: bool) -> None:
    """List the documents with id, kind, date, characters and name."""
    from hpc_trex.layout import library
    from hpc_trex.research.library import Library

    own = Library(library())
    entries = own.entries()
    if json:
        emit_json({"library": str(own.path), "documents": [entry._asdict() for entry in entries]})
        return
    for entry in entries:
        emit(
            look().cut_end(f"{entry.id}  {entry.kind:<5}  {entry.added}  {entry.size:>9,}  {entry.name}: {entry.title}")
        )
    if not entries:
        emit("the library is empty; hpc-trex library add FOLDER")
