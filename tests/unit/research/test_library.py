"""The library takes what one has, finds it in any script, travels as one file, and believes no stranger's file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hpc_trex.errors import EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.research.library import Library
from hpc_trex.research.terms import terms_of

CARD = """---
license: cc-by-4.0
pretty_name: "Tickets, Sorted"
language:
- en
- de
task_categories: [text-classification]
url: https://example.org/tickets
year: 2023
---
# A heading

Support tickets with the queue that answered.
"""


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    folder = tmp_path / "my papers"
    (folder / "deep").mkdir(parents=True)
    (folder / "curriculum.txt").write_text(
        "Curriculum learning for small models\n\n"
        + "Nothing to see in this line. " * 300
        + "\nTraining with RL after distillation helps most when rewards are dense.\n"
        + "The appendix is long. " * 300
    )
    (folder / "deep" / "数据.md").write_text(
        "# 大语言模型微调综述\n\n本文研究数据配比与课程学习。也谈到标签噪声。", encoding="utf-8"
    )
    (folder / "code.md").write_text(
        "# Notes on tool chains\n\nKernels are written in C++ or C#; 100% of them use f_strings."
    )
    (folder / "card.md").write_text(CARD)
    (folder / "thai.md").write_text("# บันทึก\n\nการเรียนรู้ของเครื่องใช้ข้อมูลจำนวนมาก", encoding="utf-8")
    return folder


@pytest.fixture
def library(tmp_path: Path, papers: Path) -> Library:
    made = Library(tmp_path / "shelf" / "library.sqlite")
    assert made.add([papers])[:3] == (5, 0, 0)
    return made


def names(library: Library, query: str, limit: int = 5) -> list[str]:
    return [str(found.extra["file"]).removeprefix("my papers/") for found in library.find(query, limit=limit)]


def without_index(library: Library) -> None:
    """Make the file as a SQLite without trigrams would have made it."""
    with sqlite3.connect(library.path) as database:
        for when in ("insert", "delete", "update"):
            database.execute(f"DROP TRIGGER documents_{when}")
        database.execute("DROP TABLE documents_fts")


QUERIES = [
    ("curriculum", "curriculum.txt"),
    ("CURRICULUM Learning", "curriculum.txt"),
    ("RL", "curriculum.txt"),
    ("how to RL", "curriculum.txt"),
    ("C++", "code.md"),
    ("C#", "code.md"),
    ("100%", "code.md"),
    ("f_strings", "code.md"),
    ("微调", "deep/数据.md"),
    ("课程学习", "deep/数据.md"),
    ("大语言模型的数据配比", "deep/数据.md"),
    ("label noise 标签噪声", "deep/数据.md"),
    ("噪", "deep/数据.md"),
    ("ข้อมูล", "thai.md"),
    ("tickets queue", "card.md"),
]


@pytest.mark.parametrize("indexed", [True, False], ids=["index", "no index"])
@pytest.mark.parametrize(("query", "file"), QUERIES)
def test_it_finds_words_of_any_script_and_length(library: Library, query: str, file: str, indexed: bool):
    if not indexed:
        without_index(library)
    assert names(library, query)[:1] == [file]


@pytest.mark.parametrize(
    "query",
    ['"', '""', "'", "C++", "AND", "a AND", "NEAR(a b)", "title:x", "*", "^a", "-a", "a*", "(", ")", "{a b} : c", "%", "_", "\\",
     "\x00", "\udcff", "x" * 5000, "; DROP TABLE documents; --", "\u202e", "…"],
)  # fmt: skip
def test_nothing_that_a_user_types_is_syntax(library: Library, query: str):
    result = library.search(query, limit=5)
    assert result.note == ""
    assert result.asked
    assert len(library.entries()) == 5


def test_short_latin_words_are_found_as_words_only(library: Library):
    assert names(library, "RL") == ["curriculum.txt"], "not in: early, girl, world"
    assert names(library, "ea") == []


def test_a_long_text_shows_its_best_passage_bounded(library: Library):
    (found,) = library.find("RL distillation rewards", limit=1)
    assert "Training with RL after distillation" in found.summary
    assert len(found.summary) <= 600
    assert "\n" not in found.summary


def test_what_a_head_says_is_kept(library: Library):
    (found,) = library.find("tickets", limit=1)
    assert (found.kind, found.title, found.licence, found.url, found.year) == (
        "card",
        "Tickets, Sorted",
        "cc-by-4.0",
        "https://example.org/tickets",
        2023,
    )
    kinds = {entry.name.rsplit("/", 1)[-1]: entry.kind for entry in library.entries()}
    assert kinds["curriculum.txt"] == "paper"
    assert kinds["code.md"] == "note"


def test_the_same_text_is_kept_once_and_a_changed_file_takes_its_own_place(library: Library, papers: Path):
    assert library.add([papers])[:3] == (0, 0, 5)
    (papers / "code.md").write_text("# Notes\n\nRust only.")
    assert library.add([papers])[:3] == (0, 1, 4)
    assert names(library, "C++") == []
    assert names(library, "Rust") == ["code.md"]


def test_two_files_of_one_name_do_not_replace_each_other(library: Library, tmp_path: Path):
    other = tmp_path / "elsewhere" / "my papers"
    other.mkdir(parents=True)
    (other / "code.md").write_text("# Other notes\n\nFortran.")
    assert library.add([other])[:3] == (1, 0, 0)
    assert names(library, "C++") == ["code.md"]
    assert names(library, "Fortran") == ["code.md"]


def test_what_cannot_be_taken_is_said_and_the_rest_is(tmp_path: Path):
    folder = tmp_path / "mixed"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "notes.md").write_text("hidden")
    (folder / "good.md").write_text("good")
    (folder / "empty.md").write_text(" \n")
    (folder / "latin.txt").write_bytes("Größe".encode("latin-1"))
    (folder / "paper.pdf").write_bytes(b"%PDF-1.7")
    (folder / "data.bin").write_bytes(b"\0")
    added = Library(tmp_path / "l.sqlite").add([folder])
    assert added[:3] == (1, 0, 0)
    assert {one.name: one.why.split(":")[0] for one in added.refused} == {
        "mixed/empty.md": "empty",
        "mixed/latin.txt": "not UTF-8",
        "mixed/paper.pdf": "PDF is not read",
    }


def test_a_path_that_is_not_there_takes_nothing_in(tmp_path: Path, papers: Path):
    library = Library(tmp_path / "l.sqlite")
    with pytest.raises(NotFound, match="nowhere"):
        library.add([papers, tmp_path / "nowhere"])
    with pytest.raises(NotFound, match="there is no library"):
        library.entries()
    assert library.add([papers])[:3] == (5, 0, 0)


def test_it_travels_as_one_file_and_merges_with_another(library: Library, tmp_path: Path):
    pack = tmp_path / "pack.sqlite"
    assert library.export(pack) == pack.stat().st_size
    assert str(tmp_path).encode() not in pack.read_bytes(), "no path of the machine that made it"
    other = Library(tmp_path / "other.sqlite")
    (tmp_path / "own.md").write_text("# My own\n\nNothing shared.")
    other.add([tmp_path / "own.md"])
    assert other.add([pack])[:3] == (5, 0, 0)
    assert other.add([pack])[:3] == (0, 0, 5)
    assert names(other, "课程学习") == ["deep/数据.md"]
    assert [found.licence for found in other.find("tickets", limit=1)] == ["cc-by-4.0"]
    assert len(other.entries()) == 6


def test_an_export_leaves_a_file_that_is_there(library: Library, tmp_path: Path):
    pack = tmp_path / "pack.sqlite"
    pack.write_text("mine")
    with pytest.raises(UsageProblem, match="exists already"):
        library.export(pack)
    assert pack.read_text() == "mine"
    with pytest.raises(NotFound):
        library.export(tmp_path / "no" / "pack.sqlite")


def test_a_library_is_read_from_a_folder_that_cannot_be_written(library: Library):
    library.path.chmod(0o444)
    library.path.parent.chmod(0o555)
    try:
        assert names(library, "C++") == ["code.md"]
        assert list(library.path.parent.iterdir()) == [library.path]
    finally:
        library.path.parent.chmod(0o755)


def test_its_journal_is_one_that_shared_disks_bear(library: Library):
    with sqlite3.connect(library.path) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_it_is_not_added_to_itself(library: Library):
    with pytest.raises(UsageProblem, match="this library itself"):
        library.add([library.path])


@pytest.mark.parametrize("what", ["another program's", "damaged", "newer", "a view"])
def test_a_strangers_file_is_refused_and_nothing_of_it_runs(library: Library, tmp_path: Path, what: str):
    path = tmp_path / "strange.sqlite"
    if what == "damaged":
        path.write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    else:
        with sqlite3.connect(path) as database:
            columns = "id, digest, name, origin, kind, title, licence, url, year, added, text"
            if what == "a view":
                database.execute(f"CREATE VIEW documents ({columns}) AS SELECT 1,2,3,4,5,6,7,8,9,10,'planted'")
            else:
                database.execute(f"CREATE TABLE documents ({columns})")
            if what != "another program's":
                database.execute("PRAGMA application_id = 0x54524C42")
                database.execute(f"PRAGMA user_version = {9 if what == 'newer' else 1}")
    with pytest.raises((UsageProblem, EnvironmentProblem)):
        library.add([path])
    assert len(library.entries()) == 5
    result = Library(path).search("planted", limit=1)
    assert result.findings == ()
    assert result.note
    assert not result.asked


def test_strange_values_in_a_merged_library_do_no_harm(library: Library, tmp_path: Path):
    pack = tmp_path / "pack.sqlite"
    library.export(pack)
    with sqlite3.connect(pack) as database:
        database.execute("UPDATE documents SET digest = 'x' || id, kind = 'boss', url = 'javascript:1', year = 'soon', title = ?",
                         ["\x1b[2J\u202etitle"])  # fmt: skip
        database.execute("UPDATE documents SET text = x'00ff' WHERE id = 1")
    other = Library(tmp_path / "other.sqlite")
    added = other.add([pack])
    assert added.new == 4
    assert len(added.refused) == 1
    for entry in other.entries():
        assert (entry.kind, entry.title, entry.year) == ("note", "[2Jtitle", None)


def test_documents_are_removed_by_id_name_or_pattern(library: Library, papers: Path):
    first = library.entries()[0]
    assert [entry.name for entry in library.remove([first.id])] == [first.name]
    with pytest.raises(NotFound, match="no document 'nothing'"):
        library.remove(["my papers/code.md", "nothing"])
    assert len(library.entries()) == 4, "all or nothing"
    assert len(library.remove(["my papers/*"])) == 4
    assert names(library, "C++") == []
    assert (papers / "code.md").exists()


def test_two_processes_may_add_at_once(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from hpc_trex.research.library import Library\n"
        "for n in range(5):\n"
        "    file = Path(sys.argv[2], f'{sys.argv[3]}-{n}.md'); file.write_text(f'text {sys.argv[3]} {n}')\n"
        "    Library(Path(sys.argv[1])).add([file])"
    )
    target = tmp_path / "l.sqlite"
    running = [subprocess.Popen([sys.executable, "-c", code, target, tmp_path, who]) for who in ("a", "b")]
    assert [one.wait() for one in running] == [0, 0]
    assert len(Library(target).entries()) == 10


def test_a_query_is_taken_apart_into_what_the_index_can_find():
    assert terms_of('the "curriculum" of C++ RL') == (("curriculum", "c++"), ("rl",))
    assert terms_of("数据配比 微调") == (("数据配", "据配比"), ("微调",))
    assert terms_of("of the") == (("the",), ("of",)), "what is no word is looked for where there is nothing else"
    assert len(terms_of(" ".join(f"word{n}" for n in range(99))).all) <= 24
