"""Every error has its words and its exit code; a bug leaves a file that is ready to be sent."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from hpc_trex import errors
from hpc_trex.cli import status
from hpc_trex.cli.errors import guarded
from hpc_trex.cli.lazy import State
from hpc_trex.cli.main import cli

Trex = Callable[..., Result]

CODES = {
    errors.TrexError: 1,
    errors.UsageProblem: 2,
    errors.NotFound: 3,
    errors.CredentialsMissing: 4,
    errors.ClusterRefused: 5,
    errors.LeaseHeld: 6,
    errors.BudgetReached: 7,
    errors.EnvironmentProblem: 8,
}


@pytest.mark.parametrize("kind", CODES)
def test_each_error_has_its_exit_code_and_two_lines(
    kind: type[errors.TrexError], capsys: pytest.CaptureFixture[str]
) -> None:
    def call() -> None:
        raise kind("it is broken", hint="mend it")

    assert guarded(call, [], State()) == CODES[kind]
    assert capsys.readouterr().err == "error: it is broken\nhint: mend it\n"


def test_with_json_an_error_is_one_object_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def call() -> None:
        raise errors.NotFound("no such thing", hint="look elsewhere")

    guarded(call, ["status", "--json"], State())
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {
        "schema": 1,
        "error": {"kind": "NotFound", "message": "no such thing", "hint": "look elsewhere", "exit_code": 3},
    }


def test_a_bug_is_exit_1_and_leaves_its_traceback_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call() -> None:
        raise ZeroDivisionError("oh")

    assert guarded(call, ["launch", "--seed", "1"], State()) == 1
    (report,) = (tmp_path / "cache" / "bugs").glob("bug-*.md")
    assert str(report) in capsys.readouterr().err
    text = report.read_text()
    assert "hpc-trex launch --seed 1" in text
    assert "ZeroDivisionError: oh" in text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_an_error_of_the_machine_is_exit_8_and_no_bug(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    def call() -> None:
        raise OSError(number, "refused", "/some/file")

    assert guarded(call, [], State()) == 8
    assert "/some/file" in capsys.readouterr().err


def test_interrupts_are_exit_130() -> None:
    def abort() -> None:
        raise click.Abort

    def interrupt() -> None:
        raise KeyboardInterrupt

    assert guarded(abort, [], State()) == 130
    assert guarded(interrupt, [], State()) == 130


def test_a_wrong_command_names_the_nearest(trex: Trex) -> None:
    result = trex("lauch")
    assert result.exit_code == 2
    assert "did you mean launch?" in result.stderr


def test_a_wrong_option_is_exit_2_and_names_the_help(trex: Trex) -> None:
    result = trex("status", "--jsn")
    assert result.exit_code == 2
    assert "hpc-trex status --help" in result.stderr


def test_without_arguments_the_help_is_printed_and_it_is_exit_2(trex: Trex) -> None:
    result = trex()
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: hpc-trex")


def test_verbose_adds_the_traceback_of_a_users_error(trex: Trex) -> None:
    assert "Traceback" in trex("-v", "status", "nothing").stderr
    assert "Traceback" not in trex("status", "nothing").stderr


def test_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def red() -> None:
        click.echo(click.style("x", fg="red"))

    monkeypatch.setattr(status, "command", click.Command("status", callback=red))
    runner = CliRunner()
    assert runner.invoke(cli, ["status"]).stdout == "x\n"
    assert "\x1b" in runner.invoke(cli, ["--color", "status"], color=True).stdout
    assert "\x1b" not in runner.invoke(cli, ["--no-color", "status"], color=True).stdout
    assert "\x1b" not in runner.invoke(cli, ["status"], color=True, env={"NO_COLOR": "1"}).stdout


def test_a_reader_that_leaves_early_sees_no_traceback() -> None:
    command = f"{sys.executable} -m hpc_trex config schema | head -1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True
    )
    assert done.stdout == "{\n"
    assert done.stderr == ""
