"""``hpc-trex data show``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpc_trex.cli.data_words import cut, need_datasets
from hpc_trex.cli.options import emit, emit_json, json_option


@click.command("show", epilog="Example: hpc-trex data show searches/listops-1/nodes/0003/data --examples 5")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--examples",
    type=click.IntRange(min=0, max=1000),
    default=3,
    show_default=True,
    help="Rows to show, drawn at random.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw.")
@json_option
def command(folder: Path, examples: int, seed: int, json: bool) -> None:
    """Look at the prepared set in FOLDER: where its rows came from and went, how long they are, some of them."""
    need_datasets()
    from hpc_trex.data.look import look

    seen = look(folder, examples, seed)
    if json:
        emit_json(seen)
        return
    from hpc_trex.models.base import one_line

    for line in _lines(seen):
        emit(one_line(line))  # names, origins, patterns: words of other people and of models


def _lines(seen: dict[str, Any]) -> list[str]:
    manifest = seen["manifest"]
    lines = [f"{manifest['rows']} rows, {manifest['holdout_rows']} held out, written as {manifest['format']} text"]
    for name, count in sorted(manifest["rows_by_source"].items()):
        source = manifest["sources"].get(name, {})
        origin = source.get("origin", {})
        where = next((origin[key] for key in ("hub", "path", "generator") if key in origin), source.get("path", "?"))
        commit = f" at {origin['revision'][:12]}" if "revision" in origin else ""
        licence = source.get("licence", manifest["licence"])
        lines.append(f"  {name:<20} {count:>9} rows  {where}{commit}  licence {licence}")
    lines.append("steps")
    for step in manifest["steps"]:
        lines.append(f"  {step['step']:>3} {step['op']:<18} {step['rows_in']:>9} -> {step['rows_out']:>9}")
        lines += [f"      {drop['rows']:>9}  {drop['reason']}" for drop in step["dropped"]]
    lines.append("characters        mean      min   median      p90      p99      max")
    for name, marks in seen["lengths"].items():
        lines.append(
            f"  {name:<10} {marks['mean']:>9.1f}"
            + "".join(f"{marks[one]:>9}" for one in ("min", "median", "p90", "p99", "max"))
        )
    lines += [f"{row['row_id']}  {cut(row['prompt'])} ->{cut(row['answer'])}" for row in seen["examples"]]
    return [*lines, f"sha256 of the rows {manifest['sha256']}"]
