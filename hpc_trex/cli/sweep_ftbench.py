"""``hpc-trex sweep ftbench``: ``sweep launch`` with what a benchmark wants where nothing is typed."""

from __future__ import annotations

import copy
from typing import Any

import click

from hpc_trex.cli import sweep_launch
from hpc_trex.cli.llm_options import given_llm

#: What is typed nowhere: a whole suite, long searches, every base model measured beside them.
PRESET: dict[str, Any] = {"suite": "ftbench", "max_nodes": 20, "throttle": 4, "baseline": True}
#: Options of ``sweep launch`` whose words name another default, or that this command has not.
WORDS = {
    "suite": "ftbench, ftbench-mini, or a folder of task cards.  [default: ftbench]",
    "tasks": "Only these tasks, in place of the suite.",
    "max_nodes": "Rounds of each search.  [default: 20]",
    "throttle": "Elements at once.  [default: 4]",
}
LEFT_OUT = {"file", "baseline"}


@click.command(
    "ftbench",
    epilog="\b\nExamples:\n"
    "  hpc-trex sweep ftbench --models Qwen/Qwen3-1.7B --seeds 0-2 --profile mycluster --dry-run\n"
    "  hpc-trex sweep ftbench --suite ftbench-mini --max-nodes 2",
)
@click.pass_context
def command(ctx: click.Context, /, *, yes: bool, dry_run: bool, **options: Any) -> None:
    """Send a suite's tasks as one throttled array: a search for each task, model and seed, and each model evaluated alone.

    All of it is a sweep (docs/sweeps.md): status, wait, resume, cancel; hpc-trex ftbench table compares what came out.
    """
    from hpc_trex.sweep.plan import read_request

    ctx.exit(sweep_launch.sent(read_request(None, preset(options)), yes=yes, dry_run=dry_run))


def preset(options: dict[str, Any]) -> dict[str, Any]:
    """Return what was typed over the preset, as the fields of a request. ``tasks`` stand in place of the suite."""
    llm = given_llm(options)
    typed = {key: value for key, value in options.items() if value not in (None, ())} | ({"llm": llm} if llm else {})
    own = {key: value for key, value in PRESET.items() if key != "suite" or "tasks" not in typed}
    return own | typed


def _params() -> list[click.Parameter]:
    found = []
    for param in sweep_launch.command.params:
        if param.name in LEFT_OUT:
            continue
        one = copy.copy(param)
        if param.name in WORDS and isinstance(one, click.Option):
            one.help = WORDS[param.name]
        found.append(one)
    return found


command.params = _params()
