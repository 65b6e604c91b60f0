"""``hpc-trex report``: write the HTML report."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, pick, reading


@click.command("report", epilog="Example: hpc-trex report listops-1 --open")
@reading
@click.option("--open", "open", is_flag=True, help="Open it in a browser.")
def command(
    search: str | None,
    last: bool,
    json: bool,
    open: bool,  # noqa: A002
) -> None:
    """Write the report of SEARCH, one HTML file that needs no network, and print its path."""
    from hpc_trex.cli.reporting import report_of
    from hpc_trex.tree.store import Store

    paths = pick(search, last)
    with Store.read(paths) as reader:
        path = report_of(paths, reader)
    if open:
        click.launch(path.as_uri())
    if json:
        emit_json({"path": str(path)})
    else:
        emit(str(path))
