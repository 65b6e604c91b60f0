"""``hpc-trex sweep status``: elements by state, and those that are not done."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, json_option
from hpc_trex.cli.sweep_options import element_lines, opened, sweep_argument


@click.command("status", epilog="Example: hpc-trex sweep status sweep-1 --elements")
@sweep_argument
@click.option("--elements", is_flag=True, help="All elements, the done ones too.")
@json_option
def command(sweep: str | None, elements: bool, json: bool) -> None:
    """Show how the elements of SWEEP (default: the newest) stand, with one question to Slurm however many they are."""
    from hpc_trex.sweep.folder import held
    from hpc_trex.sweep.standing import counts, standings

    paths, config = opened(sweep)
    found = standings(paths, config)
    gpu_hours, cpu_hours = held(paths, range(len(found)))
    counted = counts(found)
    if json:
        emit_json(
            {
                "sweep": config.name,
                "directory": str(paths.root),
                "elements": counted,
                "cost": {"gpu_hours": gpu_hours, "cpu_hours": cpu_hours, "gpu_hours_cap": config.gpu_hours},
                "rows": [one.model_dump(mode="json") for one in found],
            }
        )
        return
    cap = "" if config.gpu_hours is None else f" (cap {config.gpu_hours:g})"
    emit(
        f"sweep     {config.name}  {paths.root}\n"
        f"elements  {len(found)}: {', '.join(f'{count} {state}' for state, count in counted.items())}\n"
        f"held      {gpu_hours:.2f} GPU-hours{cap}, {cpu_hours:.2f} CPU-hours"
    )
    shown = found if elements else [one for one in found if one.state.value != "done"]
    for line in element_lines(config, shown):
        emit(line)
