"""What commands share: options, arguments, and how they open a search and print.

Nothing here is imported by ``--help`` of the program, and pydantic only when a search is really opened.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpc_trex.cli.lazy import State
from hpc_trex.errors import UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    from hpc_trex.layout import SearchPaths
    from hpc_trex.report.look import Look

F = TypeVar("F", bound=Callable[..., Any])
SCHEMA = 1


def _complete_search(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from hpc_trex.searches import list_searches

    return [paths.root.name for paths in list_searches() if paths.root.name.startswith(incomplete)]


def _remember_json(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    state = ctx.find_object(State)
    if value and state is not None:
        state.json = True
    return value


search_argument = click.argument("search", required=False, shell_complete=_complete_search)
last_option = click.option("--last", is_flag=True, help="The newest search (also the default).")
json_option = click.option(
    "--json", "json", is_flag=True, callback=_remember_json, help="Print JSON with a schema number."
)
dry_run_option = click.option("-n", "--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


def reading(function: F) -> F:
    """Give a command SEARCH, ``--last`` and ``--json``."""
    return search_argument(last_option(json_option(function)))


def keep_private(folder: Path) -> None:
    """Let every file that this process makes be readable as the search is: by its owner, or by its group too."""
    from hpc_trex.files import umask_of

    os.umask(umask_of(folder))


def pick(search: str | None, last: bool = False) -> SearchPaths:
    """Return the search that was named; the newest where none was."""
    from hpc_trex.searches import find_search

    if search is not None and last:
        raise UsageProblem("give a search or --last, not both")
    paths = find_search(search)
    keep_private(paths.root)
    return paths


def number_of(text: str, what: str = "NODE") -> int:
    """Return a typed number of a node. Raises :class:`UsageProblem` for anything else."""
    if not text.isdecimal():
        raise UsageProblem(f"{what} must be a number, not {text!r}", hint="hpc-trex tree shows the numbers")
    return int(text)


def emit_json(body: Mapping[str, object]) -> None:
    """Print one JSON document with its schema number first."""
    click.echo(json.dumps({"schema": SCHEMA, **body}, indent=1, ensure_ascii=False))


def emit(text: str) -> None:
    """Print text whose colours click strips where they are not wanted."""
    click.echo(text)


def look() -> Look:
    """Return how text is laid out here: drawn and as wide as the terminal, or plain for a pipe."""
    from hpc_trex.report.look import Look

    ctx = click.get_current_context(silent=True)
    color = ctx.color if ctx is not None else None
    terminal = sys.stdout.isatty()
    drawn = terminal and (sys.stdout.encoding or "").lower().startswith("utf")
    return Look(
        unicode=drawn,
        color=terminal if color is None else color,
        width=shutil.get_terminal_size((80, 24)).columns if terminal else None,
    )
