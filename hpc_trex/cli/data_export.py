"""``hpc-trex data export``."""

from __future__ import annotations

from pathlib import Path

import click

from hpc_trex.cli.data_words import need_datasets
from hpc_trex.cli.options import emit, emit_json, json_option


@click.command("export", epilog="Example: hpc-trex data export searches/listops-1/nodes/0003/data --to my-set")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), help="Folder to write; new or empty.")
@click.option(
    "--format", "kind", type=click.Choice(["parquet", "jsonl"]), default="parquet", show_default=True,
    help="Of the files.",
)  # fmt: skip
@json_option
def command(folder: Path, target: Path, kind: str, json: bool) -> None:
    """Write the prepared set in FOLDER for other programs: its rows, its manifest, and a card for the Hugging Face Hub."""
    need_datasets()
    from hpc_trex.data.export import export_set

    rows = export_set(folder, target.absolute(), "jsonl" if kind == "jsonl" else "parquet")
    if json:
        emit_json({"folder": str(target.absolute()), "format": kind, "rows": rows})
        return
    held = f" and {rows['validation']} to validate" if "validation" in rows else ""
    emit(f"{rows['train']} rows{held} are in {target}; README.md is their card")
