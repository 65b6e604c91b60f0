"""Options come from flag, environment, project file and user file, in that order; wrong keys are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from hpc_trex.config import did_you_mean, load_settings, project_file
from hpc_trex.errors import UsageProblem
from hpc_trex.layout import SearchPaths
from tests.unit.cli.conftest import read_json

Trex = Callable[..., Result]


def project(text: str) -> Path:
    path = Path("hpc-trex.toml").absolute()
    path.write_text(text)
    return path


def user(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config" / "hpc-trex" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def lines(trex: Trex, *args: str) -> int:
    result = trex("logs", "1", *args)
    assert result.exit_code == 0, result.output
    return len(result.stdout.splitlines())


def test_flag_beats_environment_beats_project_beats_user(
    trex: Trex, make_search: Callable[..., SearchPaths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_search()
    user(tmp_path, "[logs]\nlines = 11\ntrial = 2\n")
    assert lines(trex) == 11
    project("[logs]\nlines = 22\n")
    assert lines(trex) == 22
    monkeypatch.setenv("HPC_TREX_LOGS_LINES", "33")
    assert lines(trex) == 33
    assert lines(trex, "--lines", "44") == 44


def test_config_show_tells_each_value_and_its_origin(
    trex: Trex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = user(tmp_path, "[launch]\nparallel = 3\nseed = 1\n")
    ours = project("color = false\n[launch]\nmax-nodes = 12\nseed = 2\n")
    monkeypatch.setenv("HPC_TREX_LAUNCH_POLICY", "greedy")
    settings = read_json(trex("config", "show", "--json"))["settings"]
    assert isinstance(settings, list)
    by_key = {item["key"]: (item["value"], item["origin"]) for item in settings}
    assert by_key["launch.parallel"] == (3, str(mine))
    assert by_key["launch.seed"] == (2, str(ours))
    assert by_key["launch.max_nodes"] == (12, str(ours))
    assert by_key["launch.policy"] == ("greedy", "HPC_TREX_LAUNCH_POLICY")
    assert by_key["color"] == (False, str(ours))
    assert f"launch.seed = 2    # {ours}" in trex("config", "show", "--origin").stdout


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("[lunch]\nseed = 1\n", "did you mean launch"),
        ("[launch]\nmax_node = 1\n", "did you mean max_nodes"),
        ("hme = 'x'\n", "did you mean home"),
        ("[db]\nchek = {}\n", "did you mean check"),
        ("[db.check]\njsn = true\n", "did you mean json"),
    ],
)
def test_an_unknown_key_is_refused_with_file_and_nearest_key(trex: Trex, text: str, near: str) -> None:
    path = project(text)
    result = trex("config", "show")
    assert result.exit_code == 2
    assert str(path) in result.stderr
    assert near in result.stderr


def test_a_wrong_value_is_refused_with_the_place_it_came_from(trex: Trex, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project("[launch]\nparallel = 'many'\n")
    result = trex("launch", "--dry-run")
    assert result.exit_code == 2
    assert f"'many' is not a valid integer range. (from {path})" in result.stderr
    monkeypatch.setenv("HPC_TREX_LAUNCH_PARALLEL", "none")
    assert "(from HPC_TREX_LAUNCH_PARALLEL)" in trex("launch", "--dry-run").stderr


def test_a_file_that_is_no_toml_names_file_and_line(trex: Trex) -> None:
    path = project("[launch\n")
    result = trex("status")
    assert result.exit_code == 2
    assert str(path) in result.stderr
    assert "line 1" in result.stderr


def test_a_value_where_a_table_belongs_is_refused(trex: Trex) -> None:
    project("status = 3\n")
    result = trex("status")
    assert result.exit_code == 2
    assert "write [status]" in result.stderr


def test_an_unknown_key_is_refused_by_the_command_itself(trex: Trex) -> None:
    project("[status]\njsn = true\n")
    assert "did you mean json" in trex("status").stderr
    project("[db.check]\njsn = true\n")
    assert "did you mean json" in trex("db", "check").stderr


def test_help_and_version_work_with_a_broken_file(trex: Trex) -> None:
    project("[launch\n")
    assert trex("--help").exit_code == 0
    assert trex("--version").exit_code == 0


def test_searches_stand_beside_the_project_file_from_any_folder_below(
    trex: Trex, make_search: Callable[..., SearchPaths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HPC_TREX_HOME")  # the program sets it; monkeypatch puts the old value back
    make_search("mine-1", root=tmp_path / "work" / "searches")
    project("")
    below = tmp_path / "work" / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert read_json(trex("status", "--json"))["search"] == "mine-1"


def test_paths_in_a_file_count_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project('site = "mine"\n[launch]\ntask = "./card.toml"\nmodel = "org/name"\n')
    below = tmp_path / "work" / "below"
    below.mkdir()
    values = load_settings(below).values
    assert values["site"] == str(tmp_path / "work" / "mine")
    assert values["launch"] == {"task": str(tmp_path / "work" / "card.toml"), "model": "org/name"}


def test_the_nearest_project_file_counts_alone(tmp_path: Path) -> None:
    (tmp_path / "hpc-trex.toml").write_text("[launch]\nseed = 1\n")
    (tmp_path / "work" / "hpc-trex.toml").write_text("[launch]\nparallel = 2\n")
    assert project_file(tmp_path / "work") == tmp_path / "work" / "hpc-trex.toml"
    assert load_settings(tmp_path / "work").values["launch"] == {"parallel": 2}


def test_an_unreadable_file_is_a_usage_problem(tmp_path: Path) -> None:
    project("").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageProblem, match="not valid TOML"):
        load_settings(tmp_path / "work")


def test_did_you_mean_says_nothing_when_nothing_is_near() -> None:
    assert did_you_mean("xyz", ["launch", "status"]) == ""


def test_schemas_are_printed_by_name(trex: Trex) -> None:
    assert '"title": "TaskCard"' in trex("config", "schema", "TaskCard").stdout
    result = trex("config", "schema", "TaskCrad")
    assert result.exit_code == 3
    assert "did you mean TaskCard" in result.stderr
