"""The one place where errors become words and exit codes (docs/exit-codes.md).

A :class:`TrexError` is one line and a hint; ^C is 130; anything else is a bug, whose traceback goes into a file that
is ready to be pasted into a report. With ``--json`` errors are one JSON object on stderr.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from hpc_trex.cli.lazy import State
from hpc_trex.errors import TrexError

INTERRUPTED = 130
ENVIRONMENT = 8
BUG = 1
ISSUES = "the project's issue tracker"

#: Errors of the operating system that the user can mend.
MACHINE_ERRORS = {
    errno.ENOSPC: "make room (df -h, quota -s), then run the same command again",
    errno.EDQUOT: "make room (quota -s), then run the same command again",
    errno.EROFS: "name a folder that can be written: HPC_TREX_HOME, HPC_TREX_CACHE",
    errno.EACCES: "check who owns the file and its mode (ls -l)",
    errno.EPERM: "check who owns the file and its mode (ls -l)",
}


def guarded(call: Callable[[], object], argv: Sequence[str], state: State) -> int:
    """Run the program and return its exit code; every error is told on stderr."""
    wants_json = "--json" in argv
    try:
        outcome = call()
    except Exception as error:  # noqa: BLE001 - the outermost handler: nothing may pass it
        return tell(error, argv, as_json=wants_json or state.json, verbose=state.verbose, color=state.color)
    except KeyboardInterrupt:
        return INTERRUPTED
    return outcome if isinstance(outcome, int) else 0


def tell(error: Exception, argv: Sequence[str], *, as_json: bool, verbose: int, color: bool | None = None) -> int:
    """Say on stderr what went wrong, and return the exit code."""
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has left (``| head``); keep the interpreter from complaining while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, click.exceptions.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    message, hint, code, kind = explain(error, argv)
    if as_json:
        body = {"schema": 1, "error": {"kind": kind, "message": message, "hint": hint, "exit_code": code}}
        click.echo(json.dumps(body), err=True)
        return code
    if verbose:
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True)
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True, color=color)
    if hint:
        click.echo(f"{click.style('hint:', fg='yellow')} {hint}", err=True, color=color)
    return code


def explain(error: Exception, argv: Sequence[str]) -> tuple[str, str, int, str]:
    """Return message, hint, exit code and kind of an error. For a bug the traceback is saved first."""
    if isinstance(error, TrexError):
        return error.message, error.hint, error.exit_code, type(error).__name__
    if isinstance(error, click.ClickException):
        return _click_message(error), _click_hint(error), error.exit_code, "UsageProblem"
    if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
        place = f" {error.filename}" if error.filename else ""
        return f"{error.strerror}:{place}", MACHINE_ERRORS[error.errno], ENVIRONMENT, "EnvironmentProblem"
    path = save_bug(error, argv)
    return (
        f"this is a bug in hpc-trex: {type(error).__name__}: {error}",
        f"the traceback is in {path}; please send that file to {ISSUES}",
        BUG,
        "Bug",
    )


def _click_message(error: click.ClickException) -> str:
    """Return click's message, with the place a bad value came from when it was not typed."""
    message = error.format_message()
    if isinstance(error, click.BadParameter) and error.ctx is not None and error.param is not None:
        source = error.ctx.get_parameter_source(str(error.param.name))
        if source is ParameterSource.DEFAULT_MAP:
            from hpc_trex.cli.lazy import table_path

            state = error.ctx.find_object(State)
            keys = (*table_path(error.ctx), str(error.param.name))
            message += f" (from {state.settings.origin(*keys) if state else 'the configuration'})"
        elif source is ParameterSource.ENVIRONMENT:
            message += f" (from {error.ctx.auto_envvar_prefix}_{str(error.param.name).upper()})"
    return message


def _click_hint(error: click.ClickException) -> str:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"try: {error.ctx.command_path} --help"
    return ""


def save_bug(error: Exception, argv: Sequence[str]) -> Path:
    """Write the traceback as Markdown that can be pasted into a report. It holds no environment variable."""
    import platform
    import tempfile
    import time
    import traceback

    from hpc_trex import version
    from hpc_trex.layout import cache

    text = (
        f"### hpc-trex {version()} failed\n\n- command: `hpc-trex {' '.join(argv)}`\n"
        f"- Python {platform.python_version()} on {platform.platform()}\n- folder: `{Path.cwd()}`\n\n"
        f"```\n{''.join(traceback.format_exception(error))}```\n"
    )
    name = f"bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.md"
    for folder in (cache() / "bugs", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / name
            path.write_text(text, encoding="utf-8")
        except OSError:  # the next folder is tried; the last resort is the terminal, below
            continue
        return path
    click.echo(text, err=True)
    return Path("the text above")
