"""``hpc-trex config show``: every option that is set, and where."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import click

from hpc_trex.cli.lazy import LazyGroup, State, check_table
from hpc_trex.cli.options import emit, emit_json, json_option
from hpc_trex.config import TOP_KEYS


class Setting(NamedTuple):
    """One option that is not at its default."""

    key: str
    value: object
    origin: str


@click.command("show", epilog="Example: hpc-trex config show --origin")
@click.option("--origin", is_flag=True, help="Say where each value came from.")
@json_option
@click.pass_context
def command(ctx: click.Context, origin: bool, json: bool) -> None:
    """Print the options that the environment, the project file or the user file set; all tables are checked."""
    found = list(settings(ctx.find_root()))
    if json:
        emit_json({"settings": [setting._asdict() for setting in found]})
        return
    if not found:
        emit("nothing is set: every option has its default")
    for setting in found:
        line = (
            f"{setting.key} = {setting.value!r}"
            if isinstance(setting.value, str)
            else f"{setting.key} = {setting.value}"
        )
        emit(f"{line}    # {setting.origin}" if origin else line)


def settings(root: click.Context) -> Iterator[Setting]:
    """Yield what is set, the top keys first. Raises UsageProblem for the first unknown key of any command's table."""
    state: State = root.obj
    for key in TOP_KEYS:
        name = f"HPC_TREX_{key.upper()}"
        file = state.settings.origin(key)
        from_file = state.settings.values.get(key)
        if name in os.environ and os.environ[name] != from_file:
            yield Setting(key, os.environ[name], name)
        elif file is not None:
            yield Setting(key, from_file, str(file))
    assert isinstance(root.command, LazyGroup)
    yield from _group(root, root.command, ())


def _group(ctx: click.Context, group: LazyGroup, path: tuple[str, ...]) -> Iterator[Setting]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None, name
        check_table(ctx, command, name)
        below = click.Context(command, info_name=name, parent=ctx)
        if isinstance(command, LazyGroup):
            yield from _group(below, command, (*path, name))
        else:
            yield from _options(below, command, (*path, name))


def _options(ctx: click.Context, command: click.Command, path: tuple[str, ...]) -> Iterator[Setting]:
    state = ctx.find_object(State)
    assert state is not None
    for param in command.params:
        if not isinstance(param, click.Option) or param.name is None:
            continue
        key = ".".join((*path, param.name))
        variable = f"{ctx.auto_envvar_prefix}_{param.name.upper()}"
        file = state.settings.origin(*path, param.name)
        if os.environ.get(variable):
            yield Setting(key, os.environ[variable], variable)
        elif file is not None:
            yield Setting(key, (ctx.default_map or {}).get(param.name), str(file))
