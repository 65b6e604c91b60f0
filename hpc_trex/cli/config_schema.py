"""``hpc-trex config schema``: JSON schemas for editors."""

from __future__ import annotations

import json

import click

from hpc_trex.errors import NotFound


@click.command("schema", epilog="Example: hpc-trex config schema TaskCard > task-card.schema.json")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """Print the JSON schema of NAME (TaskCard, Profile, RoundPlan ...), or of all by name."""
    from hpc_trex.models import json_schemas
    from hpc_trex.suggest import did_you_mean

    schemas = json_schemas()
    if name is not None and name not in schemas:
        raise NotFound(f"no schema {name!r}{did_you_mean(name, schemas)}", hint=f"there are: {', '.join(schemas)}")
    click.echo(json.dumps(schemas if name is None else schemas[name], indent=1))
