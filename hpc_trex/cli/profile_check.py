"""``hpc-trex profile check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import emit, emit_json, json_option

if TYPE_CHECKING:
    from hpc_trex.models import Profile
    from hpc_trex.slurm.preflight import Shape


@click.command("check", epilog="Example: hpc-trex profile check mycluster")
@click.argument("name")
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, name: str, json: bool) -> None:
    """Ask Slurm whether it would take the jobs of profile NAME (or a file). Nothing is submitted.

    Each of the four jobs is written as it would be submitted and shown to sbatch --test-only. Exit code 5: refused, with
    Slurm's words and the key to correct.
    """
    from hpc_trex.errors import EnvironmentProblem
    from hpc_trex.slurm.containers import check_image
    from hpc_trex.slurm.preflight import SHAPES, check_limits
    from hpc_trex.slurm.profiles import load_profile

    profile = load_profile(name)
    check_limits(profile)
    check_image(profile)
    rows: dict[str, dict[str, str]] = {}
    for shape in SHAPES:
        if profile.scheduler != "slurm":
            rows[shape] = {"verdict": "ok", "says": f"no queue to ask (scheduler = {profile.scheduler})"}
            continue
        rows[shape] = asked(profile, shape)
        if rows[shape]["verdict"] == "silent":
            raise EnvironmentProblem(f"nothing is proved: {rows[shape]['says']}", hint=rows[shape]["hint"])
    if json:
        emit_json({"profile": profile.name, "shapes": rows})
    else:
        for name_of_shape, row in rows.items():
            emit(
                f"{row['verdict']:<8} {name_of_shape:<10}  {row['says']}"
                + (f"\n{'':<9}hint: {row['hint']}" if row.get("hint") else "")
            )
    if any(row["verdict"] == "refused" for row in rows.values()):
        ctx.exit(5)


def asked(profile: Profile, shape: Shape) -> dict[str, str]:
    """Return what Slurm says of one job: ok, refused or silent."""
    from hpc_trex.slurm.preflight import ask_shape
    from hpc_trex.slurm.scheduler import SubmitRefused, SubmitUnavailable

    try:
        return {"verdict": "ok", "says": str(ask_shape(profile, shape))}
    except SubmitRefused as error:
        return {"verdict": "refused", "says": error.message, "hint": error.hint}
    except SubmitUnavailable as error:
        return {"verdict": "silent", "says": error.message, "hint": error.hint}
