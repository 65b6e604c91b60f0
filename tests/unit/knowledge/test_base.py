"""The file: one writer at a time, nothing half written, and errors that say what to do."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpc_trex.errors import EnvironmentProblem, LeaseHeld
from hpc_trex.knowledge.base import VERSION, read_base, remember
from hpc_trex.knowledge.start import start_from, start_lines
from hpc_trex.layout import knowledge
from hpc_trex.tree.lease import Lease
from tests.unit.knowledge.making import TARGET, finding, remembered

ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import sys
from pathlib import Path
from hpc_trex.knowledge.base import remember
from tests.unit.knowledge.making import finding, remembered
for number in range(5):
    remember(Path(sys.argv[1]), [remembered(f"{sys.argv[2]}-{number}", finding())], wait=60)
"""
DYING = """
import os, sys
from pathlib import Path
from hpc_trex.knowledge import base
from tests.unit.knowledge.making import finding, remembered
with base._writing(Path(sys.argv[1]), 5.0) as database:
    database.execute("BEGIN IMMEDIATE")
    database.execute("PRAGMA cache_spill = 1")
    base.write_one(database, remembered("half", finding()))
    os.kill(os.getpid(), 9)
"""


def run(script: str, *words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *map(str, words)], cwd=ROOT)


def test_several_controllers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "base.db"
    writers = [run(WRITER, path, name) for name in "abc"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    assert {one.uid for one in read_base(path)} == {f"{name}-{number}" for name in "abc" for number in range(5)}
    assert not list(tmp_path.glob("*lease*"))


def test_a_writer_that_was_killed_leaves_nothing_half_done_and_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "base.db"
    remember(path, [remembered("before", finding())])
    assert run(DYING, path).wait(timeout=60) == -9
    assert [one.uid for one in read_base(path)] == ["before"]
    remember(path, [remembered("after", finding())], wait=1)
    assert {one.uid for one in read_base(path)} == {"before", "after"}


def test_a_base_whose_lease_another_holds_is_said_to_be_locked_after_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "base.db"
    begun = time.monotonic()
    with Lease(tmp_path / "base.db.lease"), pytest.raises(LeaseHeld, match="locked by another writer"):
        remember(path, [remembered("a")], wait=0.2)
    assert 0.2 <= time.monotonic() - begun < 5
    remember(path, [remembered("a")], wait=0.2)


def test_a_base_that_sqlite_itself_finds_locked_is_said_to_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "base.db"
    remember(path, [remembered("a")])
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LeaseHeld, match="locked"):
        remember(path, [remembered("b")], wait=0.2)
    other.rollback()
    other.close()
    assert not list(tmp_path.glob("*lease*")), "the lease is given back"


@pytest.mark.parametrize(
    ("content", "words"), [(b"this is no database at all" * 50, "damaged"), (None, "another kind"), ("newer", "newer")]
)
def test_a_file_that_is_no_base_is_refused_and_not_touched(tmp_path: Path, content: object, words: str) -> None:
    path = tmp_path / "base.db"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE other (x)")
            if content == "newer":
                database.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    for call in (lambda: read_base(path), lambda: remember(path, [remembered("a")])):
        with pytest.raises(EnvironmentProblem, match=words):
            call()
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", ["tags = 'no list'", "metric = x'00ff'"])
def test_a_row_that_somebody_has_spoilt_makes_the_base_damaged_and_no_bug(tmp_path: Path, change: str) -> None:
    path = tmp_path / "base.db"
    remember(path, [remembered("a", finding())])
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE searches SET {change}")
    with pytest.raises(EnvironmentProblem, match="damaged"):
        read_base(path)


def test_a_place_where_no_file_can_be_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "base.db", tmp_path / "folder"):
        with pytest.raises(EnvironmentProblem, match="cannot be opened"):
            remember(path, [remembered("a")])


def test_a_base_that_cannot_be_read_never_stops_a_launch(tmp_path: Path) -> None:
    path = tmp_path / "base.db"
    path.write_bytes(b"junk" * 1000)
    known = start_from(path, TARGET)
    assert known.lessons == ()
    assert start_lines(known)[0].startswith("knowledge  none: the knowledge base")


def test_a_base_in_a_folder_of_a_group_can_be_written_by_the_group_and_else_by_nobody(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        for name, folder_mode, mode in (("group", 0o2770, 0o660), ("own", 0o755, 0o600)):
            folder = tmp_path / name
            folder.mkdir()
            folder.chmod(folder_mode)
            remember(folder / "base.db", [remembered("a")])
            assert stat.S_IMODE((folder / "base.db").stat().st_mode) == mode
        assert os.umask(0o022) == 0o022, "the umask of the program is as it was"
    finally:
        os.umask(before)


def test_the_base_is_the_users_own_unless_a_variable_names_another_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.delenv("HPC_TREX_KNOWLEDGE")
    assert knowledge() == Path("/data/hpc-trex/knowledge.db")
    monkeypatch.setenv("HPC_TREX_KNOWLEDGE", "/group/base.db")
    assert knowledge() == Path("/group/base.db")
    monkeypatch.setenv("HPC_TREX_KNOWLEDGE", "off")
    assert knowledge() is None


def test_the_tests_cannot_reach_a_home() -> None:
    """Both ways to a user's base are closed for the whole run: the variable, and what stands in where it is taken away."""
    assert os.environ["HPC_TREX_KNOWLEDGE"] == "off"
    own = Path.home() / ".local"
    assert own not in Path(os.environ["XDG_DATA_HOME"]).parents
