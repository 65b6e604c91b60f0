"""What the commands of ``hpc-trex sweep`` share: lists in one option, the SWEEP argument, how one is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from hpc_trex.cli.options import keep_private

if TYPE_CHECKING:
    from hpc_trex.sweep.layout import SweepPaths
    from hpc_trex.sweep.records import Standing, SweepConfig


class Names(click.ParamType):  # type: ignore[type-arg] # generic since click 8.5 only
    """Names between commas: ``a,b``."""

    name = "a,b"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names; a list from a configuration file is taken as it is."""
        words = value.split(",") if isinstance(value, str) else value
        names = tuple(str(word).strip() for word in words)
        if not all(names):
            self.fail(f"an empty name in {value!r}", param, ctx)
        return names


class Numbers(click.ParamType):  # type: ignore[type-arg] # generic since click 8.5 only
    """Whole numbers and spans of them between commas: ``0-4,7``."""

    name = "0-4,7"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers in the order in which they stand."""
        if not isinstance(value, str):
            return tuple(int(number) for number in value)
        found: list[int] = []
        for word in value.split(","):
            low, dash, high = word.strip().partition("-")
            if not low.isdecimal() or (dash and not high.isdecimal()):
                self.fail(f"{word!r} is neither a number nor a span such as 0-4", param, ctx)
            found += range(int(low), int(high if dash else low) + 1)
            if dash and int(high) < int(low):
                self.fail(f"{word!r} runs backwards", param, ctx)
        return tuple(found)


def _complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from hpc_trex.sweep.folder import list_sweeps

    return [paths.root.name for paths in list_sweeps() if paths.root.name.startswith(incomplete)]


sweep_argument: Callable[[Any], Any] = click.argument("sweep", required=False, shell_complete=_complete)
elements_option: Callable[[Any], Any] = click.option(
    "--only", type=Numbers(), help="Only these elements, by number, e.g. 0-4,7."
)


def opened(sweep: str | None) -> tuple[SweepPaths, SweepConfig]:
    """Return a sweep by name or path (none: the newest) and its frozen configuration."""
    from hpc_trex.sweep.folder import find_sweep, read_config

    paths = find_sweep(sweep)
    keep_private(paths.root)
    return paths, read_config(paths)


def element_lines(config: SweepConfig, found: list[Standing]) -> list[str]:
    """Return one line for each element: number, state, job, what it is, why."""
    from hpc_trex.cli.options import look
    from hpc_trex.report.look import number
    from hpc_trex.slurm.failures import pending_hint
    from hpc_trex.sweep.element import describe

    lines = []
    for one in found:
        score = "" if one.result is None or one.result.dev is None else f"  dev {number(one.result.dev)}"
        hint = pending_hint(one.reason) if one.state.value == "queued" else ""
        why = f"{one.reason}: {hint}" if hint else one.reason
        words = (
            f"{one.element.number:>4}  {one.state.value:<9}  {one.job_id or '-':<12}  {describe(config, one.element)}"
        )
        lines.append(look().cut_end(words + score + (f"  ({why})" if why else "")))
    return lines
