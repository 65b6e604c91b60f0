"""Entry point of the command line: the table of commands and what holds for all of them.

Importing this module imports click and nothing heavier; a command's module is imported when the command runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hpc_trex.cli.errors import guarded
from hpc_trex.cli.lazy import Entry, LazyGroup, State, check_table
from hpc_trex.config import FOLDERS, TOP_KEYS, Settings, check_keys, load_settings
from hpc_trex.errors import UsageProblem

COMMANDS = {
    "launch": Entry("launch", "Start a search."),
    "resume": Entry("resume", "Go on with a search, or raise its budget."),
    "tick": Entry("tick", "Do one pass of the controller and return (for cron)."),
    "status": Entry("status", "State, scores and cost of a search."),
    "tree": Entry("tree", "The search tree with scores."),
    "show": Entry("show", "One round: plan, recipe, trials and jobs."),
    "logs": Entry("logs", "Output of a job, with -f as it is written."),
    "best": Entry("best", "The best round against the baseline."),
    "insights": Entry("insights", "The lessons of a search, and of all searches together."),
    "sweep": Entry("sweep", "Many searches as one Slurm array."),
    "wait": Entry("wait", "Block until a search is over; the exit code says its fate."),
    "pause": Entry("pause", "Start no more jobs until resume."),
    "approve": Entry("approve", "Let a search go on that waits for you."),
    "reject": Entry("reject", "Have something else proposed than what waits for you."),
    "strike": Entry("strike", "Take a result that you do not believe out of the tree."),
    "restore": Entry("restore", "Let a struck result count again."),
    "retry": Entry("retry", "Run a failed or cancelled round again."),
    "cancel": Entry("cancel", "End a search, or some rounds of it."),
    "budget": Entry("budget", "GPU-hours and CPU-hours used, reserved and left."),
    "gc": Entry("gc", "Remove what nobody needs any more."),
    "export": Entry("export", "Write a trained model for other programs, with a model card."),
    "reproduce": Entry("reproduce", "Run a round again: does its score come out?"),
    "report": Entry("report", "Write the HTML report."),
    "db": Entry("db", "Check, rebuild or publish a search's database."),
    "unlock": Entry("unlock", "Remove the lease of a dead controller."),
    "profile": Entry("profile", "The clusters that searches can run on."),
    "doctor": Entry("doctor", "Check this machine and its cluster before a search."),
    "stage": Entry("stage", "Bring models and data here before the jobs, which are offline."),
    "research": Entry("research", "Search literature, data sets, models and the local library."),
    "library": Entry("library", "Papers, notes and data cards of your own, searched without a network."),
    "data": Entry("data", "Data recipes by hand: run one, look at a prepared set."),
    "ftbench": Entry("ftbench", "The built-in tasks."),
    "train": Entry("train", "One training by hand, without a search."),
    "evaluate": Entry("evaluate", "One evaluation by hand, without a search."),
    "config": Entry("config", "Where options come from; JSON schemas."),
    "completion": Entry("completion", "Print the completion script of a shell."),
}


class Program(LazyGroup):
    """The outermost group: its ``main`` is the one error handler."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run and exit with one of the documented codes."""
        argv = list(sys.argv[1:] if args is None else args)
        state = State()
        extra.update(standalone_mode=False, obj=state)

        def call() -> object:
            return super(Program, self).main(argv, prog_name or "hpc-trex", **extra)

        sys.exit(guarded(call, argv, state))


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from hpc_trex import version

        click.echo(f"hpc-trex {version()}")
        ctx.exit()


@click.command(
    "hpc-trex",
    cls=Program,
    table=COMMANDS,
    no_args_is_help=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "HPC_TREX",
        "max_content_width": 100,
    },
    epilog="Start with: hpc-trex launch        Options also come from HPC_TREX_* and hpc-trex.toml "
    "(docs/configuration.md).",
)
@click.option(
    "--site", type=click.Path(file_okay=False, exists=True), help="Folder with your own profiles, cards and prompts."
)
@click.option("--color/--no-color", default=None, help="Colours; default: on a terminal without NO_COLOR.")
@click.option("-v", "--verbose", count=True, help="Say more on stderr; twice for debugging.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@click.pass_context
def cli(ctx: click.Context, site: str | None, color: bool | None, verbose: int) -> None:
    """Fine-tune language models automatically: a tree search whose experiments are batch jobs."""
    state: State = ctx.obj
    state.verbose = verbose
    state.settings = load_settings(Path.cwd())
    check_keys(state.settings.values, {*COMMANDS, *TOP_KEYS}, where="the file", settings=state.settings, path=())
    _apply_top_keys(state.settings, site)
    state.color = _color(color, state.settings)
    ctx.color = state.color
    ctx.default_map = {key: value for key, value in state.settings.values.items() if key in COMMANDS}
    # Here, and not where lower groups do it (resolve_command): click has resolved our command before this runs.
    name = str(ctx.invoked_subcommand)
    command = cli.get_command(ctx, name)
    if command is not None:
        check_table(ctx, command, name)
    if verbose:
        _log_to_stderr(verbose)


def _apply_top_keys(settings: Settings, site: str | None) -> None:
    """Put the folders into the environment, where the program and the jobs it starts look for them.

    In a project the searches stand beside its ``hpc-trex.toml``, from whatever folder below the command is typed.
    """
    folders: dict[str, object] = {"home": str(settings.project / "searches")} if settings.project else {}
    folders.update({key: settings.values[key] for key in FOLDERS if key in settings.values})
    for key, value in folders.items():
        if not isinstance(value, str):
            raise UsageProblem(f"{settings.origin(key)}: {key} must be a path, not {value!r}")
        os.environ.setdefault(f"HPC_TREX_{key.upper()}", value)
    if site:
        os.environ["HPC_TREX_SITE"] = str(Path(site).absolute())


def _color(flag: bool | None, settings: Settings) -> bool | None:
    """Return what was asked for: the flag, then NO_COLOR (any text), a dumb terminal, the files; None is automatic."""
    if flag is not None:
        return flag
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    wanted = settings.values.get("color")
    if wanted is not None and not isinstance(wanted, bool):
        raise UsageProblem(f"{settings.origin('color')}: color must be true or false, not {wanted!r}")
    return wanted


def _log_to_stderr(verbose: int) -> None:
    import logging

    level = logging.DEBUG if verbose > 1 else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)


def main() -> None:
    """Run the program (the console script)."""
    cli.main()
