"""``hpc-trex library export``."""

from __future__ import annotations

from pathlib import Path

import click

from hpc_trex.cli.options import emit


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Write the library as one compact FILE; at a site without network: hpc-trex library add FILE."""
    from hpc_trex.layout import library
    from hpc_trex.research.library import Library

    size = Library(library()).export(file)
    emit(f"{file}: {size:,} bytes")
