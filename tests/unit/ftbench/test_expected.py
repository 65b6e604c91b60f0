"""The real tasks of FT-Bench: each folder's sample rows through its shape, prompt and scorer, as its ``expected.json`` says.

An entry names the sample ``row`` (from 0; ``part``: which of the rows that the shape makes of it), the ``text`` that a model
said, ``score``, ``answer`` and ``flags`` that come of it, and ``why``.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hpc_trex.evaluation.choice import judge_choice
from hpc_trex.evaluation.metrics import Judged, judge
from hpc_trex.evaluation.scoring import ordered_flags
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.options import Options
from hpc_trex.ftbench.render import Renderer
from hpc_trex.ftbench.shapes import Shaper
from hpc_trex.models import Source, TaskCard

FOLDERS = sorted(
    folder.parent
    for folder in (Path(__file__).resolve().parents[3] / "ftbench").glob("*/card.toml")
    if load_card(str(folder)).card.downloads
)
TEN = [
    "aci-bench",
    "cs-bench",
    "econlogicqa",
    "gta",
    "hoc",
    "lawbench",
    "omebench",
    "openfindata",
    "sst-2",
    "tomg-bench",
]
PARTS = ("card.toml", "README.md", "samples.jsonl", "expected.json")
README = ("Source", "Licence", "Citation", "Splits", "Prompt", "Metric", "Differences")


class Ready(NamedTuple):
    """A sample row as a job would evaluate it."""

    answer: str
    columns: dict[str, Any]
    choices: tuple[str, ...]


@cache
def samples(folder: Path) -> list[list[Ready]]:
    """Return the evaluation rows that come of each sample row."""
    card = load_card(str(folder / "card.toml")).card
    render, options = Renderer(card.prompt, "card"), Options(card.metric, "card")
    made = []
    for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        assert sample.keys() == {"table", "row"}
        source = source_of(card, sample["table"])
        rows = Shaper(source.shape, "card")(sample["row"], line) if source.shape else [sample["row"]]
        ready = []
        for columns in rows:
            answer = render(columns).answer
            more = options(columns, answer) if source in (card.dev, card.test) else {}  # trainings keep no columns
            ready.append(Ready(answer, more.get("row", {}), tuple(more.get("choices", ()))))
        made.append(ready)
    return made


def source_of(card: TaskCard, table: str) -> Source:
    """Return what reads a table: the split or source that names it, or one that is carved out of it."""
    for source in (card.dev, card.test, *card.sources.values()):
        if source.table == table:
            return source
    assert table in card.tables, f"no table {table} in the card"
    return next(
        source
        for source in (card.dev, card.test, *card.sources.values())
        if source.table is not None and card.tables[source.table].of == table
    )


def expected(folder: Path) -> list[dict[str, Any]]:
    path = folder / "expected.json"
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def judged(card: TaskCard, row: Ready, text: str) -> Judged:
    """Judge a text; of a choice, with the option ``text`` as the likeliest one."""
    if card.metric.mode == "generate":
        return judge(text, row.answer, card.metric, row.columns)
    assert text in row.choices
    likelihoods = [(0.0 if choice == text else -1000.0, False) for choice in row.choices]
    return judge_choice(likelihoods, row.choices, row.answer, card.metric)


def test_the_ten_tasks_of_the_benchmark_are_here():
    assert [folder.name for folder in FOLDERS] == TEN


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_task_folder_has_the_same_shape_as_all(folder):
    assert [name for name in PARTS if not (folder / name).is_file()] == []
    text = (folder / "README.md").read_text(encoding="utf-8").lower()
    assert [word for word in README if word.lower() not in text] == []
    card = load_card(str(folder / "card.toml")).card
    assert card.name == folder.name
    assert card.capabilities
    assert card.licence != "unknown"
    roles = {one.role for one in card.references}
    # Of some tasks neither base nor reference is published anywhere that could be read: then a card says so, and has none.
    assert "trex" in roles
    assert roles >= {"base", "reference"} or any("score" in one.source for one in card.references)
    # The table of a benchmark measures G against what is published, where nothing else is: never against another metric.
    assert not [one for one in card.references if "no score" in one.source and one.role in ("base", "reference")]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_sample_rows_of_a_task_can_be_asked(folder):
    rows = samples(folder)
    assert 8 <= len(rows) <= 30
    assert all(rows)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_expected_answers_are_of_every_kind(folder):
    entries = expected(folder)
    assert len(entries) >= 8
    assert all(entry["why"].strip() for entry in entries)
    scores = [entry["score"] for entry in entries]
    assert (min(scores), max(scores) > 0.5) == (0, True)
    if load_card(str(folder / "card.toml")).card.metric.mode == "generate":
        assert any("empty" in entry["flags"] for entry in entries)
        assert any("</think>" in entry["text"] and entry["score"] > 0 for entry in entries)


@pytest.mark.parametrize(
    ("folder", "entry"),
    [(folder, entry) for folder in FOLDERS for entry in expected(folder)],
    ids=lambda value: value.name if isinstance(value, Path) else str(value["row"]),
)
def test_an_expected_answer_is_judged_so(folder, entry):
    card = load_card(str(folder / "card.toml")).card
    row = samples(folder)[entry["row"]][entry.get("part", 0)]
    found = judged(card, row, entry["text"])
    assert found.score == pytest.approx(entry["score"], abs=1e-4), entry["why"]
    assert (found.answer, found.flags) == (entry["answer"], ordered_flags(entry["flags"])), entry["why"]
