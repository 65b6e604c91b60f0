"""``hpc-trex doctor``: what this machine and cluster can do, checked on the spot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpc_trex.cli.llm_options import endpoint_options, given_llm
from hpc_trex.cli.options import emit, emit_json, json_option

if TYPE_CHECKING:
    from hpc_trex.doctor.check import Check

WIDTH = 20
COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


@click.command(
    "doctor",
    epilog="\b\nExamples:\n  hpc-trex doctor\n  hpc-trex doctor --profile mycluster --directory /shared/me/searches"
    "\n  hpc-trex doctor --llm-base-url http://127.0.0.1:8000/v1 --llm-model qwen3-32b",
)
@click.option("--profile", default="local", show_default=True, help="Where jobs run: a profile's name or file.")
@click.option(
    "--directory", type=click.Path(file_okay=False), help="Where searches would stand; default: HPC_TREX_HOME."
)
@click.option("--no-job", is_flag=True, help="Submit no probe job: compute nodes are not looked at.")
@click.option(
    "--wait", type=click.FloatRange(min=1), default=120, show_default=True, help="Seconds to wait for the probe job."
)
@endpoint_options("model", "base_url", "api", "key_variable", "key_file")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    profile: str,
    directory: str | None,
    no_job: bool,
    wait: float,
    json: bool,
    **more: Any,
) -> None:
    """Check this machine and its cluster: file system, locks, room, Slurm, network, GPUs, versions, a language model.

    On Slurm one job of at most five minutes looks around on a compute node. Exit code 8 when something has to be mended
    first; warnings are no reason not to start.
    """
    from pathlib import Path

    from pydantic import ValidationError

    from hpc_trex.doctor.check import worst
    from hpc_trex.doctor.examine import examine
    from hpc_trex.layout import home
    from hpc_trex.models import LlmSettings
    from hpc_trex.slurm.profiles import load_profile

    given = given_llm(more)
    if given and "model" not in given:
        raise click.UsageError(f"--llm-{next(iter(given)).replace('_', '-')} needs --llm-model")
    try:
        llm = LlmSettings.model_validate(given) if given else None
    except ValidationError as error:
        first = error.errors()[0]
        name = "-".join(str(part) for part in first["loc"]).replace("_", "-")
        raise click.UsageError(f"--llm-{name}: {first['msg']}") from error
    chosen = load_profile(profile)
    folder = Path(directory).expanduser().absolute() if directory else home()
    checks = examine(chosen, folder, job=not no_job, wait=wait, llm=llm, say=(lambda _: None) if json else say)
    verdict = worst(checks)
    if json:
        body = {"profile": chosen.name, "directory": str(folder), "verdict": verdict.value}
        emit_json({**body, "checks": [check.model_dump(mode="json") for check in checks]})
    else:
        counts = {word: sum(check.verdict.value == word for check in checks) for word in COLOURS}
        emit(f"\n{counts['ok']} ok, {counts['warning']} to know about, {counts['failure']} to mend")
    if verdict.value == "failure":
        ctx.exit(8)


def say(check: Check) -> None:
    """Print one line, and below it what to do."""
    word = click.style(f"{check.verdict.value:<8}", fg=COLOURS[check.verdict.value])
    emit(f"{word} {check.name:<{WIDTH}} {check.found}")
    if check.remedy:
        emit(f"{'':<{WIDTH + 9}} -> {check.remedy}")
