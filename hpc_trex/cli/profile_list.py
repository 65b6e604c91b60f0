"""``hpc-trex profile list``."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, json_option, look


@click.command("list")
@json_option
def command(json: bool) -> None:
    """List the profiles, yours and the shipped ones."""
    from hpc_trex.slurm.profiles import list_profiles

    profiles = list_profiles()
    if json:
        emit_json({"profiles": [profile.model_dump(mode="json") for profile in profiles.values()]})
        return
    wide = max(map(len, profiles), default=0)
    for name, profile in profiles.items():
        emit(look().cut_end(f"{name:<{wide}}  {profile.scheduler:<5}  {profile.description}"))
