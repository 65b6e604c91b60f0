"""``db check`` names what disagrees with the log; ``db rebuild`` makes the database again."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.errors import LeaseHeld, NotFound
from hpc_trex.files import write_atomic
from hpc_trex.layout import SearchPaths
from hpc_trex.models import JobKind
from hpc_trex.tree import events as ev
from hpc_trex.tree.check import check, rebuild
from hpc_trex.tree.database import connect
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.snapshot import publish
from hpc_trex.tree.store import Store
from tests.unit.tree.building import add, done, dump, fail, finish, new_store, run_trial


@pytest.fixture
def search(tmp_path: Path) -> SearchPaths:
    """A closed search with two rounds, a failure, trials, a note and every file that it should have."""
    with new_store(tmp_path / "s") as store:
        add(store, None)
        run_trial(store, 0, 1, 0.5, kind=JobKind.BASELINE)
        finish(store, 0, 0.5)
        done(store, 0, 0.7)
        fail(store, add(store, 0), charged=True)
        store.record(ev.NodeDiagnosed(node=1, report="good"))
        store.record(ev.Note(text="hello"))
        publish(store, force=True)
        paths = store.paths
    paths.card.parent.mkdir()
    for path in (paths.config, paths.card):
        path.write_text("")
    result = paths.attempt(0, 1, 1).result
    result.parent.mkdir(parents=True)
    write_atomic(result, "{}")
    return paths


def spoil(paths: SearchPaths, sql: str) -> None:
    database = connect(paths.db)
    database.execute(sql)
    database.close()


def test_a_sound_search_has_no_problem(search: SearchPaths) -> None:
    assert check(search) == []


@pytest.mark.parametrize(
    ("table", "column", "field"),
    [
        ("search", "config", "$.researcher.without"),
        ("search", "config", "$.evaluate.backend"),
        ("nodes", "plan", "$.trials[0].train.loss"),
        ("trials", "result", "$.repairs"),
    ],
)
def test_records_of_an_earlier_version_lack_what_came_since_and_are_not_damaged(
    search: SearchPaths, table: str, column: str, field: str
) -> None:
    database = connect(search.db)
    query = f"SELECT count(*) FROM {table} WHERE json_type({column}, '{field}') IS NOT NULL"
    assert database.execute(query).fetchone()[0], "there is nothing to leave out"
    database.close()
    spoil(search, f"UPDATE {table} SET {column} = json_remove({column}, '{field}')")
    assert check(search) == []


def test_a_record_that_says_something_else_is_named(search: SearchPaths) -> None:
    spoil(search, "UPDATE nodes SET plan = json_set(plan, '$.trials[0].train.quantization', 'nf4') WHERE id = 1")
    (problem,) = check(search)
    assert problem.startswith("nodes 1: plan is ")
    spoil(search, "UPDATE nodes SET plan = '{' WHERE id = 1")
    assert check(search)[0].startswith("nodes 1: plan is '{'")


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE nodes SET score_sum = 9 WHERE id = 0", "nodes 0: score_sum is 9.0, the log says 1.2"),
        ("UPDATE nodes SET failures = 0 WHERE id = 2", "nodes 2: failures is 0, the log says 1"),
        ("UPDATE trials SET score = NULL", "trials 0 1: score is None, the log says 0.5"),
        ("DELETE FROM notes", "notes 1 is missing from tree.db"),
        ("INSERT INTO notes (time, text) VALUES ('', '')", "notes 2 is in tree.db, but no event made it"),
        ("UPDATE search SET state = 'done'", "search 1: state is 'done', the log says 'running'"),
        ("UPDATE search SET log_bytes = log_bytes + 9", "events.jsonl is shorter than tree.db says"),
        (
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('hpc-trex', '0999', '')",
            "tree.db cannot be used",
        ),
    ],
)
def test_every_disagreement_is_named_and_a_rebuild_mends_it(search: SearchPaths, sql: str, says: str) -> None:
    spoil(search, sql)
    problems = check(search)
    assert any(says in text for text in problems), problems
    assert rebuild(search) == len(search.events.read_text().splitlines())
    assert check(search) == []
    assert search.db.with_name("tree.db.old").exists()


def test_a_damaged_database_is_named(search: SearchPaths) -> None:
    raw = bytearray(search.db.read_bytes())
    raw[4096:12288] = b"\xff" * 8192
    search.db.write_bytes(raw)
    assert "db rebuild makes it again" in check(search)[0]
    rebuild(search)
    assert check(search) == []


def test_missing_files_are_named(search: SearchPaths) -> None:
    search.attempt(0, 1, 1).result.unlink()
    search.config.unlink()
    search.db.unlink()
    search.snapshot.write_bytes(b"nonsense")
    problems = check(search)
    assert len(problems) == 4
    for expected in ("search.toml is missing", "result.json is missing", "tree.db is missing", "current.db cannot be"):
        assert any(expected in text for text in problems)


def test_a_rebuild_gives_the_same_database_byte_by_row(search: SearchPaths) -> None:
    with Store.open(search) as store:
        before = dump(store)
    rebuild(search)
    with Store.open(search) as store:
        assert dump(store) == before


def test_a_journal_that_a_crash_left_is_not_rolled_back_into_the_new_database(search: SearchPaths) -> None:
    """SQLite would take any hot journal of that name for the new file's own."""
    database = connect(search.db)
    database.conn.execute("PRAGMA cache_size = 1")
    database.conn.execute("BEGIN")
    database.conn.execute("UPDATE nodes SET message = 'half done'")
    database.conn.executemany("INSERT INTO notes (time, text) VALUES ('', ?)", [["x" * 3000]] * 50)
    journal = search.db.with_name("tree.db-journal")
    hot, half = journal.read_bytes(), search.db.read_bytes()
    database.conn.rollback()
    database.close()
    search.db.write_bytes(half)
    journal.write_bytes(hot)
    rebuild(search)
    assert not journal.exists()
    assert search.db.with_name("tree.db.old-journal").read_bytes() == hot
    assert check(search) == []


def test_no_rebuild_under_a_running_controller(search: SearchPaths) -> None:
    with Lease(search), pytest.raises(LeaseHeld):
        rebuild(search)


def test_there_is_nothing_to_check_without_a_search(tmp_path: Path) -> None:
    for question in (check, rebuild):
        with pytest.raises(NotFound):
            question(SearchPaths(tmp_path))
