"""The text tasks of FT-Bench from files of the upstream's shape to rows: readers, globs, prompts. Files are made here."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.build import build_tables
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.options import Options
from hpc_trex.ftbench.render import Renderer
from hpc_trex.ftbench.upstream import READERS, cs_bench, hoc, sst2

SITE = Path(__file__).resolve().parents[3] / "ftbench"


def sample_rows(task: str) -> dict[str, list[dict[str, Any]]]:
    """Return the folder's sample rows by table."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for line in (SITE / task / "samples.jsonl").read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        rows.setdefault(sample["table"], []).append(sample["row"])
    return rows


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def built(task: str, download: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the tables of a card over downloaded files, every row of which can be asked."""
    card = load_card(task).card
    tables = {name: [json.loads(line) for line in lines] for name, lines in build_tables(card, {download: folder})}
    render, options = Renderer(card.prompt, task), Options(card.metric, task)
    for rows in tables.values():
        for row in rows:
            options(row, render(row).answer)
    return tables


def test_aci_bench_and_econlogicqa_come_from_csv_files_with_line_breaks(tmp_path):
    visits, names = sample_rows("aci-bench"), {"train": "train", "dev": "valid", "test": "clinicalnlp_taskB_test1"}
    for table, name in names.items():
        write_csv(tmp_path / "aci/data/challenge_data" / f"{name}.csv", visits[table])
    assert built("aci-bench", "repo", tmp_path / "aci") == visits
    events = sample_rows("econlogicqa")
    for table, name in {"train": "train", "dev": "val", "test": "test"}.items():
        write_csv(tmp_path / "econ/data" / f"{name}.csv", events[table])
    assert built("econlogicqa", "hub", tmp_path / "econ") == events


def sentences(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an abstract's sentences as upstream has them, the last one first, all of its labels on the last one."""
    parts = row["text"].split(" . ")
    labels = [hoc.CLASSES.index(label) for label in row["labels"]] or [hoc.CLASSES.index("none")]
    made = [
        {"document_id": f"{row['pmid']}_{i}", "text": part, "label": labels if i == len(parts) - 1 else [7]}
        for i, part in enumerate(f"{part} ." for part in [one.removesuffix(" .") for one in parts])
    ]
    return made[::-1]


def test_hoc_brings_the_sentences_of_an_abstract_together(tmp_path):
    abstracts = sample_rows("hoc")
    for table, name in {"train": "train", "dev": "validation", "test": "test"}.items():
        rows = [sentence for row in abstracts[table] for sentence in sentences(row)]
        write_parquet(tmp_path / "hallmarks_of_cancer_source" / name / "0000.parquet", rows)
    assert built("hoc", "hub", tmp_path) == abstracts


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"document_id": "123"}, "document_id"),
        ({"label": [11]}, "0 to 10"),
        ({"label": 3}, "not a list"),
        ({"text": " "}, "text is empty"),
        ({}, "twice"),
    ],
)
def test_a_sentence_of_another_shape_is_named_with_its_row(tmp_path, change, told):
    good = {"document_id": "123_0", "text": "Cells die .", "label": [4]}
    path = write_jsonl(tmp_path / "rows.jsonl", [good, good | change])
    with pytest.raises(UsageProblem, match=rf"rows.jsonl:2.*{told}"):
        list(hoc.read_hoc([path]))


FILMS = [
    f"film number {n} is a {word} thing , says {name} ."
    for n, (word, name) in enumerate([("good", "ann"), ("bad", "bob")] * 20)
]


def film_rows() -> list[dict[str, Any]]:
    """Whole sentences, three phrases of each, and what all of them share."""
    texts = [part for one in FILMS for part in (one, one[:14], one.partition(" , ")[0], one.partition(" a ")[2])]
    texts += ["film", "says ann", "a thing apart"]
    return [{"idx": i, "sentence": f"{text} ", "label": i % 2} for i, text in enumerate(texts)]


@pytest.fixture
def films(tmp_path, monkeypatch) -> list[Path]:
    monkeypatch.setattr(sst2, "DEV_SENTENCES", 8)
    write_parquet(tmp_path / "data/train-00000-of-00001.parquet", film_rows())
    test = [
        {"idx": i, "sentence": text, "label": 1} for i, text in enumerate(["another film entirely", f"{FILMS[3]} "])
    ]
    write_parquet(tmp_path / "data/validation-00000-of-00001.parquet", test)
    return sorted((tmp_path / "data").iterdir())


def test_sst2_dev_is_whole_sentences_whose_phrases_are_in_no_training_row(films):
    tables = built("sst-2", "hub", films[0].parents[1])
    dev, train = ([row["sentence"].strip() for row in tables[name]] for name in ("dev", "train"))
    assert len(dev) == 8
    assert set(dev) <= set(FILMS)
    for sentence in dev:
        assert not [text for text in train if text.startswith("film number") and f"{sentence} ".startswith(f"{text} ")]
    assert FILMS[3] not in train + dev  # it is a row of the test
    assert FILMS[3][:14].strip() in train  # its phrases are not
    assert "a thing apart" in train  # part of no row, but no sentence: of a neutral one, perhaps
    left = {text for text in FILMS if text not in dev} - {FILMS[3]}
    assert left <= set(train)


def test_sst2_dev_does_not_hang_on_the_order_of_the_file(films, tmp_path):
    turned = tmp_path / "turned"
    write_parquet(turned / "train-0.parquet", film_rows()[::-1])
    again = [turned / "train-0.parquet", films[1]]
    assert {r["sentence"] for r in sst2.read_dev(films)} == {r["sentence"] for r in sst2.read_dev(again)}
    assert sorted(r["idx"] for r in sst2.read_train(films)) == sorted(r["idx"] for r in sst2.read_train(again))


def test_sst2_without_its_sentences_or_labels_is_refused(tmp_path):
    few = write_jsonl(tmp_path / "train-0.jsonl", film_rows())
    with pytest.raises(UsageProblem, match="too few"):
        list(sst2.read_dev([few]))
    hidden = write_jsonl(tmp_path / "test-0.jsonl", [{"idx": 0, "sentence": "a film", "label": -1}])
    with pytest.raises(UsageProblem, match=r"test-0.jsonl:1.*label -1"):
        list(sst2.read_train([hidden]))


def questions() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Valid and test rows: the samples, a question of the test in both, one twice, and kinds that no rule scores."""
    rows = sample_rows("cs-bench")
    first = rows["test"][0]
    turned = first | {"ID": 1, "A": first["D"], "D": first["A"], "Question": f" {first['Question'].upper()}"}
    other = first | {"ID": 2, "A": 0, "B": None}  # upstream writes whatever is there
    blank = {"Split": "Test", "Format": "Fill-in-the-blank", "Question": "2^10 is ( ).", "Answer": "1024"}
    return [*rows["dev"], turned | {"Split": "Valid"}, blank | {"Split": "Valid"}], [
        *rows["test"],
        turned,
        other,
        blank,
    ]


def test_cs_bench_asks_nothing_twice_and_only_what_a_rule_scores(tmp_path):
    valid, test = questions()
    write_jsonl(tmp_path / "CS-Bench/English/valid.jsonl", valid)
    write_jsonl(tmp_path / "CS-Bench/English/test.jsonl", test)
    tables = built("cs-bench", "hub", tmp_path)
    assert tables == {"dev": valid[:4], "test": [*test[:5], test[6]]}
    assert {row["Format"] for rows in tables.values() for row in rows} == set(cs_bench.KINDS)


def test_a_question_of_another_shape_is_named_with_its_line(tmp_path):
    row = sample_rows("cs-bench")["test"][0]
    without = {name: value for name, value in row.items() if name != "C"}
    path = write_jsonl(tmp_path / "test.jsonl", [row, without])
    with pytest.raises(UsageProblem, match=r"test.jsonl:2: .*no column C"):
        list(cs_bench.read_test([path]))
    with pytest.raises(UsageProblem, match="Split is 'Dev'"):
        list(cs_bench.read_valid([write_jsonl(path, [row | {"Split": "Dev"}])]))


def test_openfindata_tells_the_kind_by_the_files_name(tmp_path):
    folder = tmp_path / "openfindata_release"
    folder.mkdir()
    rows = [row for table in sample_rows("openfindata").values() for row in table]
    filed: dict[str, list[dict[str, Any]]] = {}
    for n in range(40):  # enough that 200 rows can be taken out
        for row in rows:
            columns = {name: value for name, value in row.items() if name not in ("task", "letters")}
            filed.setdefault(row["task"], []).append(columns | {"question": f"{n}. {row['question']}"})
    for task, entries in filed.items():
        (folder / f"{task}.json").write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
    tables = built("openfindata", "release", tmp_path)
    assert (len(tables["dev"]), len(tables["test"])) == (200, 240)
    assert {row["task"] for row in tables["test"]} == {row["task"] for row in rows}
    wanted = next(row for row in rows if row["task"] == "intent_understanding")
    found = next(row for row in tables["test"] if row["task"] == "intent_understanding")
    assert found | {"question": ""} == wanted | {"question": ""}


def test_an_option_may_be_the_number_0(tmp_path):
    row = {"question": "?", "A": 0, "B": 1, "C": 2.5, "answer": "A"}
    (tmp_path / "financial_facts.json").write_text(json.dumps([row]))
    assert next(READERS["openfindata"]([tmp_path / "financial_facts.json"]))["A"] == 0


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("stock_analysis.json", "[]", "no kind of question"),
        ("financial_facts.json", "{", "not valid JSON"),
        ("financial_facts.json", '{"data": []}', "a JSON dict"),
        ("financial_facts.json", '[{"question": "?", "A": "1", "B": "2", "answer": "A"}]', r"entry 1\): no C"),
        ("entity_recognition.json", '[{"question": "?", "answer": ""}]', r"entry 1\): no answer"),
        ("entity_recognition.json", "[3]", r"entry 1\): no question"),
    ],
)
def test_a_file_of_openfindata_that_is_another_is_named(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageProblem, match=told):
        list(READERS["openfindata"]([tmp_path / name]))


@pytest.mark.parametrize(
    ("reader", "name", "text", "said"),
    [
        ("hoc", "train.txt", "x", r"train.txt: none of \*.jsonl"),
        ("cs-bench-test", "test.json", "[]", r"test.json: none of \*.jsonl"),
        ("lawbench", "1-1.json", "[" * 100_000, "1-1.json: not valid JSON"),
        ("lawbench", "1-1.json", "{}", "1-1.json: a JSON dict, not a list"),
        ("lawbench", "1-1.json", '[{"question": "?"}]', r"\(entry 1\): has not the texts"),
    ],
)
def test_another_file_than_a_reader_was_written_for_is_said_to_be(
    tmp_path: Path, reader: str, name: str, text: str, said: str
):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageProblem, match=said) as caught:
        list(READERS[reader]([tmp_path / name]))
    assert caught.value.hint
