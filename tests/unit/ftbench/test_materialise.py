"""Writing a task into a search directory: canonical rows, the sealed test, and every refusal."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpc_trex.errors import EnvironmentProblem, UsageProblem
from hpc_trex.ftbench.cards import LoadedCard, load_card
from hpc_trex.ftbench.materialise import materialise, read_rows
from hpc_trex.ftbench.render import Renderer
from hpc_trex.ftbench.rows import item_hash
from hpc_trex.ftbench.splits import read_split
from hpc_trex.layout import SearchPaths
from hpc_trex.models import MetricSpec, Prompt, Shape, Source, TaskCard

ROWS = {
    "train": [{"q": "one", "a": "yes"}, {"q": "two", "a": "no"}, {"q": "two", "a": "no"}],
    "dev": [{"q": "three", "a": "yes"}],
    "test": [{"q": "four", "a": "no"}, {"q": "five", "a": "yes"}],
}


class Folder:
    """A card with three JSONL files that a test changes before it materialises them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = SearchPaths(root / "a search")
        self.card = TaskCard(
            name="mine",
            sources={"train": Source(path="train.jsonl")},
            dev=Source(path="dev.jsonl"),
            test=Source(path="test.jsonl"),
            prompt=Prompt(prompt="Q: {{ q }}", answer="{{ a }}"),
        )
        for name, rows in ROWS.items():
            self.write(name, [json.dumps(row) for row in rows])

    def write(self, name: str, lines: list[str] | bytes) -> Path:
        path = self.root / f"{name}.jsonl"
        path.write_bytes(lines if isinstance(lines, bytes) else ("\n".join(lines) + "\n").encode())
        return path

    def run(self, **options: bool):
        return materialise(LoadedCard(self.card, self.root / "card.toml"), self.paths, **options)

    def refused(self) -> UsageProblem:
        """Materialise, expect a refusal with a hint, and see that nothing was left behind."""
        with pytest.raises(UsageProblem) as caught:
            self.run()
        assert caught.value.hint
        assert not self.paths.root.exists()
        return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_rows_stand_rendered_in_the_search_directory(folder: Folder) -> None:
    made = folder.run()
    assert made.source_rows == {"train": 3}
    assert (made.dev_rows, made.test_rows, made.dropped) == (1, 2, {})
    assert [row._asdict() for row in read_rows(folder.paths.sources / "train.jsonl")][:2] == [
        {"row_id": "train:1", "prompt": "Q: one", "answer": "yes", "source": "train"},
        {"row_id": "train:2", "prompt": "Q: two", "answer": "no", "source": "train"},
    ]
    assert read_rows(folder.paths.dev)[0].row_id == "dev:1"
    assert TaskCard.model_validate_json(folder.paths.card.read_text()) == folder.card
    hashes = folder.paths.block.read_text().split()
    assert set(hashes) == {item_hash(f"Q: {word}") for word in ("three", "four", "five")}
    assert {path.name for path in folder.paths.root.iterdir()} == {"task", "sealed"}


def test_a_source_of_plain_texts_has_no_answers_and_dev_must_have_them(folder: Folder) -> None:
    shape = Shape(columns={"prompt": "{{ text }}", "answer": ""})
    folder.write("texts", [json.dumps({"text": "Some page.\n\nAnd more."})])
    texts = Source(path="texts.jsonl", rendered=True, shape=shape)
    folder.card = folder.card.model_copy(update={"sources": {**folder.card.sources, "texts": texts}})
    folder.run()
    assert [row._asdict() for row in read_rows(folder.paths.sources / "texts.jsonl")] == [
        {"row_id": "texts:1", "prompt": "Some page.\n\nAnd more.", "answer": "", "source": "texts"}
    ]
    folder.card = folder.card.model_copy(update={"dev": texts})
    folder.paths = SearchPaths(folder.root / "another")
    assert "the answer is empty" in folder.refused().message


def test_the_test_split_is_sealed(folder: Folder) -> None:
    folder.run()
    assert stat.S_IMODE(folder.paths.test.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.paths.test.stat().st_mode) == 0o600
    assert len(read_rows(folder.paths.test)) == 2
    outside = "".join(path.read_text() for path in folder.paths.card.parent.rglob("*") if path.is_file())
    assert "Q: four" not in outside


def test_a_directory_that_holds_a_task_is_left_alone(folder: Folder) -> None:
    folder.run()
    before = folder.paths.test.read_bytes()
    with pytest.raises(UsageProblem, match="already holds a task"):
        folder.run()
    assert folder.paths.test.read_bytes() == before


def test_what_a_kill_between_the_two_renames_leaves_is_replaced(folder: Folder) -> None:
    folder.paths.test.parent.mkdir(parents=True)
    folder.paths.test.write_text("half")
    folder.run()
    assert len(read_rows(folder.paths.test)) == 2


def test_the_built_in_tasks_are_written_with_the_same_rows_each_time(tmp_path: Path) -> None:
    texts = []
    for number in range(2):
        paths = SearchPaths(tmp_path / str(number))
        made = materialise(load_card("mini-listops"), paths)
        assert (made.dev_rows, made.test_rows) == (200, 400)
        texts.append([path.read_bytes() for path in sorted(paths.root.rglob("*")) if path.is_file()])
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"q": "x", "a": "yes"', "not valid JSON"),
        (b'["x", "yes"]', "a JSON list, not an object"),
        (b'"x"', "a JSON str, not an object"),
        (b'{"question": "x", "a": "yes"}', "'q' is undefined; the row has 'a', 'question'"),
        (b'{"q": null, "a": "yes"}', "None is neither text nor a number"),
        (b'{"q": ["x"], "a": "yes"}', "is neither text nor a number"),
        (b'{"q": "x", "a": true}', "True is neither text nor a number"),
        (b'{"q": "x", "a": " "}', "the answer is empty"),
        (b'{"q": "x\xff", "a": "yes"}', "not UTF-8 text (byte 9"),
        (b'{"q": "\\ud800", "a": "yes"}', "half a surrogate pair"),
        (b"[" * 100_000, "JSON that cannot be read"),
        (b'{"q": ' + b"1" * 5000 + b', "a": "y"}', "JSON that cannot be read"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(folder: Folder, line: bytes, words: str) -> None:
    path = folder.write("train", b'{"q": "one", "a": "yes"}\n\n' + line + b"\n")
    problem = folder.refused()
    assert f"{path}:3: " in problem.message
    assert words in problem.message


def test_a_byte_order_mark_and_windows_line_ends_are_no_error(folder: Folder) -> None:
    folder.write("train", b'\xef\xbb\xbf{"q": "one", "a": "yes"}\r\n{"q": "two", "a": "no"}\r\n')
    assert folder.run().source_rows == {"train": 2}


def test_numbers_are_rendered_and_lists_through_a_filter(folder: Folder) -> None:
    folder.card = folder.card.model_copy(update={"prompt": Prompt(prompt="{{ q | join(' ') }}", answer="{{ a }}")})
    for name in ROWS:
        folder.write(name, [json.dumps({"q": [name, "x"], "a": 7})])
    folder.run()
    row = read_rows(folder.paths.dev)[0]
    assert (row.prompt, row.answer) == ("dev x", "7")


def test_a_template_cannot_reach_the_program(folder: Folder) -> None:
    folder.card = folder.card.model_copy(
        update={"prompt": Prompt(prompt="{{ q.__class__.__mro__ }}", answer="{{ a }}")}
    )
    assert "unsafe" in folder.refused().message


@pytest.mark.parametrize("name", ["train", "dev", "test"])
def test_an_empty_split_is_refused(folder: Folder, name: str) -> None:
    folder.write(name, b"\n")
    assert f"{name} has no rows" in folder.refused().message


def test_a_dev_row_in_a_training_source_is_refused_with_both_places(folder: Folder) -> None:
    path = folder.write("train", ['{"q": "one", "a": "yes"}', '{"q": "THREE ", "a": "other"}'])
    problem = folder.refused()
    assert f"{path}:2: row train:2" in problem.message
    assert "dev.jsonl:1" in problem.message
    assert "--drop-overlap" in problem.hint


def test_with_drop_overlap_the_test_keeps_its_rows_and_the_others_lose_theirs(folder: Folder) -> None:
    folder.write("train", [json.dumps({"q": word, "a": "yes"}) for word in ("one", "three", "four", "four")])
    folder.write("dev", [json.dumps({"q": word, "a": "yes"}) for word in ("three", "Five", "three")])
    made = folder.run(drop_overlap=True)
    assert made.dropped == {"dev": 2, "train": 3}
    assert (made.source_rows, made.dev_rows, made.test_rows) == ({"train": 1}, 1, 2)


def test_dev_rows_in_the_test_split_are_refused(folder: Folder) -> None:
    folder.write("dev", ['{"q": "five", "a": "yes"}'])
    assert "test.jsonl:2" in folder.refused().message


def test_a_split_that_overlaps_whole_is_refused_even_with_drop_overlap(folder: Folder) -> None:
    folder.write("train", ['{"q": "four", "a": "yes"}'])
    with pytest.raises(UsageProblem, match="train: every row"):
        folder.run(drop_overlap=True)
    assert not folder.paths.root.exists()


def test_an_answer_outside_the_labels_is_refused(folder: Folder) -> None:
    folder.card = folder.card.model_copy(update={"metric": MetricSpec(name="accuracy", labels=("yes",))})
    problem = folder.refused()
    assert "test.jsonl:1" in problem.message
    assert "'no'" in problem.message


def test_a_set_of_labels_is_looked_at_label_by_label(folder: Folder) -> None:
    folder.write("test", ['{"q": "one more", "a": "yes; no"}', '{"q": "another", "a": "none"}'])
    labels = ("yes", "no", "maybe")
    folder.card = folder.card.model_copy(update={"metric": MetricSpec(name="label_set_f1", labels=labels[:1])})
    assert "'no' is none of metric.labels" in folder.refused().message
    folder.card = folder.card.model_copy(update={"metric": MetricSpec(name="label_set_f1", labels=labels)})
    assert folder.run().test_rows == 2


@pytest.mark.parametrize("split", ["dev", "test"])
def test_an_answer_that_holds_a_stop_string_is_refused(folder: Folder, split: str) -> None:
    """Every answer of a model is cut there: none could ever be right."""
    path = folder.write(split, ['{"q": "seven", "a": "a\\nb"}'])
    problem = folder.refused()
    assert f"{path}:1" in problem.message
    assert "metric.stop" in problem.hint
    folder.card = folder.card.model_copy(update={"metric": MetricSpec(stop=())})
    folder.run()


def test_rows_takes_the_first_rows_of_a_file(folder: Folder) -> None:
    folder.card = folder.card.model_copy(update={"sources": {"train": Source(path="train.jsonl", rows=1)}})
    assert folder.run().source_rows == {"train": 1}


def test_parquet_is_read_and_a_broken_file_refused(folder: Folder) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = folder.root / "train.parquet"
    parquet.write_table(pa.Table.from_pylist(ROWS["train"]), path)
    folder.card = folder.card.model_copy(update={"sources": {"train": Source(path="train.parquet")}})
    path.write_bytes(path.read_bytes()[:-5])
    assert "cannot be read as parquet" in folder.refused().message
    parquet.write_table(pa.Table.from_pylist(ROWS["train"]), path)
    assert folder.run().source_rows == {"train": 3}


def test_parquet_without_pyarrow_says_what_to_install(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.root / "train.parquet").write_bytes(b"x")
    folder.card = folder.card.model_copy(update={"sources": {"train": Source(path="train.parquet")}})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(EnvironmentProblem) as caught:
        folder.run()
    assert "hpc-trex[train]" in caught.value.hint
    assert caught.value.exit_code == 8


def test_nothing_heavy_is_imported_on_this_path(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hpc_trex.layout import SearchPaths;"
        "from hpc_trex.ftbench.cards import load_card; from hpc_trex.ftbench.materialise import materialise;"
        f"materialise(load_card('mini-triage'), SearchPaths(Path({str(tmp_path / 's')!r})));"
        "heavy = {'torch', 'datasets', 'pandas', 'numpy', 'pyarrow', 'huggingface_hub'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["q", "a", "x"]), inner, max_size=3),
    max_leaves=8,
)
junk_lines = st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()) | st.just(b"")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(junk_lines, max_size=4))
def test_whatever_a_file_holds_it_is_read_or_refused_with_its_line(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "junk.jsonl"
    path.write_bytes(b"\n".join(lines))
    render = Renderer(Prompt(prompt="{{ q }}", answer="{{ a }}"), "card.toml")
    message, placed = "", []
    try:
        placed = read_split("junk", Source(path="junk.jsonl"), render, tmp_path / "card.toml")
    except UsageProblem as problem:
        message = problem.message
    assert bool(placed) != (f"{path}:" in message or "has no rows" in message), message
    for row, *_ in placed:
        assert row.prompt.strip()
        assert row.answer.strip()
        row.prompt.encode()
