"""Click groups whose commands are imported only when they run, so that ``--help`` costs no pydantic and no sqlite.

A group's table gives each command's module and its one-line help; the module has the click command in ``command``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click

from hpc_trex.config import Settings, check_keys
from hpc_trex.errors import UsageProblem
from hpc_trex.suggest import did_you_mean


class Entry(NamedTuple):
    """One command of a lazy group."""

    module: str
    """Module name under ``hpc_trex.cli``; its attribute ``command`` is the click command."""
    help: str
    """What the list of commands shows."""


class State:
    """What the whole program knows of its own run; ``ctx.obj``."""

    def __init__(self) -> None:
        self.json = False
        self.verbose = 0
        self.color: bool | None = None
        """None: as the terminal says."""
        self.settings = Settings({}, {}, None)


class LazyGroup(click.Group):
    """A group that lists its commands from a table and imports one when it is asked for."""

    def __init__(self, *args: Any, table: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = import_module(f"hpc_trex.cli.{entry.module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.table and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no command {name!r}{did_you_mean(name, self.table)}", ctx)
        resolved = super().resolve_command(ctx, args)
        if resolved[1] is not None:
            check_table(ctx, resolved[1], name)
        return resolved

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.table.items()])


def check_table(ctx: click.Context, command: click.Command, name: str) -> None:
    """Check the keys of a command's table in the configuration files before click takes its values from there."""
    values = (ctx.default_map or {}).get(name)
    if values is None:
        return
    settings = ctx.find_object(State).settings  # type: ignore[union-attr]
    path = (*table_path(ctx), name)
    file = settings.origin(*path)
    if not isinstance(values, Mapping):
        raise UsageProblem(f"{file}: {'.'.join(path)} must be a table", hint=f"write [{'.'.join(path)}]")
    if isinstance(command, click.Group):
        known = set(command.list_commands(ctx)) | option_names(command)
    else:
        known = option_names(command)
    check_keys(values, known, where=f"[{'.'.join(path)}]", settings=settings, path=path)


def option_names(command: click.Command) -> set[str]:
    """Return the names of a command's options, as a configuration file spells them."""
    return {str(param.name) for param in command.params if isinstance(param, click.Option)}


def table_path(ctx: click.Context) -> tuple[str, ...]:
    """Return the names of the groups from below the program down to ``ctx``."""
    names: list[str] = []
    here: click.Context | None = ctx
    while here is not None and here.parent is not None:
        names.append(str(here.info_name))
        here = here.parent
    return tuple(reversed(names))
