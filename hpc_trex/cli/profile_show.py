"""``hpc-trex profile show``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, json_option


@click.command("show", epilog="Example: hpc-trex profile show local > site/slurm/profiles/mycluster.toml")
@click.argument("name")
@json_option
def command(name: str, json: bool) -> None:
    """Print profile NAME (or a file) as TOML, with every default filled in."""
    import tomli_w

    from hpc_trex.slurm.profiles import load_profile

    profile = load_profile(name)
    if json:
        emit_json({"profile": profile.model_dump(mode="json")})
    else:
        emit(tomli_w.dumps(profile.model_dump(mode="json", exclude_none=True)).rstrip())
