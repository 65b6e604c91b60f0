"""Render ``docs/cli.md`` from the commands themselves, so that it cannot be wrong.

Run: ``python -m hpc_trex.cli.reference > docs/cli.md``. A test compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from hpc_trex.cli.lazy import LazyGroup

LAYOUT: dict[str, Any] = {"terminal_width": 100, "max_content_width": 100}
HEAD = """# Command line

Every command and every option, as `--help` prints them. Exit codes stand in [exit-codes.md](exit-codes.md), files and
variables that set options in [configuration.md](configuration.md).

<!-- Made by: python -m hpc_trex.cli.reference > docs/cli.md -->
"""


def render() -> str:
    """Return the whole page."""
    from hpc_trex.cli.main import cli

    parts = [HEAD]
    root = click.Context(cli, info_name="hpc-trex", **{**cli.context_settings, **LAYOUT})
    for ctx in contexts(root):
        parts.append(f"\n## {ctx.command_path}\n\n```text\n{ctx.get_help().rstrip()}\n```\n")
    return "".join(parts)


def contexts(ctx: click.Context) -> Iterator[click.Context]:
    """Yield a context for the program and every command below it, in the order of the tables."""
    yield ctx
    if isinstance(ctx.command, LazyGroup):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            assert command is not None, name
            yield from contexts(click.Context(command, info_name=name, parent=ctx, **LAYOUT))


if __name__ == "__main__":
    sys.stdout.write(render())
