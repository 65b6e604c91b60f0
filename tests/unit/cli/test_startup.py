"""``--help`` stays quick: it imports none of the heavy packages (benchmarks/cli_startup.py measures the time)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_trex.cli.main import COMMANDS
from hpc_trex.layout import SearchPaths

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "pandas", "numpy", "transformers", "datasets"}
FOR_SEARCHES = {"pydantic", "sqlite_utils", "sqlite3", "submitit", "rich", "jinja2", "huggingface_hub"}


def imported(*args: str) -> set[str]:
    """Run a command line in a new interpreter and return the top-level packages that it imported."""
    code = (
        "import sys\nfrom hpc_trex.cli.main import cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('\\nMODULES', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True, cwd=ROOT, env=dict(os.environ)
    )
    names = set(done.stdout.splitlines()[-1].split())
    assert "click" in names
    return names


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["launch", "--help"], ["status", "--help"], ["db", "--help"]]
)
def test_help_and_version_import_nothing_heavy(args: list[str]) -> None:
    assert not imported(*args) & (HEAVY | FOR_SEARCHES)


def test_status_imports_no_torch_no_pandas_no_numpy(make_search: Callable[..., SearchPaths]) -> None:
    make_search()
    names = imported("status")
    assert "sqlite_utils" in names
    assert not names & HEAVY


def test_every_listed_command_has_a_module_with_that_name_and_help() -> None:
    import click

    from hpc_trex.cli.main import cli
    from hpc_trex.cli.reference import contexts

    found = list(contexts(click.Context(cli, info_name="hpc-trex")))
    assert {ctx.info_name for ctx in found if ctx.parent and ctx.parent.parent is None} == set(COMMANDS)
    for ctx in found[1:]:
        assert ctx.command.name == ctx.info_name
        assert ctx.command.help, ctx.command_path


def test_the_reference_page_is_what_help_prints() -> None:
    """In a process of its own: click remembers how help was first asked of a command, which a test may call by itself."""
    page = ROOT / "docs" / "cli.md"
    made = subprocess.run([sys.executable, "-m", "hpc_trex.cli.reference"], capture_output=True, text=True, check=True)
    assert page.read_text() == made.stdout, "docs/cli.md is old; run: python -m hpc_trex.cli.reference > docs/cli.md"


def test_every_exit_code_is_documented() -> None:
    from hpc_trex import errors

    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.TrexError)
    }
    text = (ROOT / "docs" / "exit-codes.md").read_text()
    assert codes == {1, 2, 3, 4, 5, 6, 7, 8}
    for code in (0, *codes, 130):
        assert f"\n| {code} |" in text
