"""``hpc-trex sweep list``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, json_option, look


@click.command("list")
@json_option
def command(json: bool) -> None:
    """List the sweeps, the newest first, from their files alone: how many elements are done, and what they are made of."""
    from hpc_trex.sweep.folder import list_sweeps, read_config
    from hpc_trex.sweep.standing import counts, from_results

    rows = []
    for paths in list_sweeps():
        config = read_config(paths)
        done = counts(from_results(paths, config)).get("done", 0)
        rows.append((config, paths, done))
    if json:
        body = [
            {"sweep": config.name, "directory": str(paths.root), "elements": len(config.elements()), "done": done}
            for config, paths, done in rows
        ]
        emit_json({"sweeps": body})
        return
    for config, _, done in rows:
        names = ", ".join(task.name for task in config.tasks)
        emit(
            look().cut_end(
                f"{config.name:<20}  {done}/{len(config.elements())} done  {config.profile.name:<16}  {names}"
            )
        )
