"""The usual shapes of training sets: CSV, folders, column mapping, instructions, conversations, calls of tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.readers import RawRow, read_source
from hpc_trex.ftbench.shapes import Shaper
from hpc_trex.models import Shape, Source


def _read(folder: Path, name: str, **more: Any) -> list[RawRow]:
    return list(read_source(Source(path=name, **more), folder / "card.toml"))


def _shaped(row: dict[str, Any], **shape: Any) -> list[dict[str, Any]]:
    return list(Shaper(Shape(**shape), "card")(row, "file:1"))


def test_csv_is_read_with_quotes_line_breaks_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbfq,a\r\n"one, two","x\ny"\r\n\r\n3,4\r\n')
    rows = _read(tmp_path, "t.csv")
    assert [row.columns for row in rows] == [{"q": "one, two", "a": "x\ny"}, {"q": "3", "a": "4"}]
    assert rows[1].where.endswith("t.csv:5")
    (tmp_path / "t.tsv").write_text("q\ta\n1,5\t2\n")
    assert _read(tmp_path, "t.tsv")[0].columns == {"q": "1,5", "a": "2"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"q,a\n1,2\n3\n", ["t.csv:3", "1 values", "2 columns"]),
        (b"q,a\n1,caf\xe9\n", ["t.csv:2", "not UTF-8"]),
        (b"q,q\n1,2\n", ["t.csv:1", "no two alike"]),
        (b'q,a\n1,"2\n', ["t.csv", "not valid CSV"]),
    ],
)
def test_a_bad_line_of_a_csv_is_named(tmp_path: Path, content: bytes, told: list[str]) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UsageProblem) as caught:
        _read(tmp_path, "t.csv")
    assert all(words in caught.value.message for words in told), caught.value.message
    assert caught.value.hint


def test_a_value_longer_than_the_csv_modules_own_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"q,a\n{'x' * 200_000},2\n")
    assert len(_read(tmp_path, "t.csv")[0].columns["q"]) == 200_000


def test_a_folder_is_read_file_by_file_and_numbered_through(tmp_path: Path) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "b.jsonl").write_text('{"q": 3}\n')
    (tmp_path / "d" / "a.csv").write_text("q\n1\n2\n")
    (tmp_path / "d" / "README.md").write_text("no data")
    (tmp_path / "d" / "sub" / "c.jsonl").write_text('{"q": 4}\n')
    rows = _read(tmp_path, "d")
    assert [str(row.columns["q"]) for row in rows] == ["1", "2", "3", "4"]
    assert len({row.line for row in rows}) == 4
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageProblem, match="no data file"):
        _read(tmp_path, "empty")


def test_columns_are_made_by_templates() -> None:
    row = {"query": "2+2", "options": ["3", "4"], "n": 1}
    made = _shaped(row, columns={"prompt": "{{ query }}: {{ options | join(' or ') }}", "answer": "{{ options[n] }}"})
    assert made == [{**row, "prompt": "2+2: 3 or 4", "answer": "4"}]
    with pytest.raises(UsageProblem, match=r"file:1: template prompt: 'quary' is undefined; the row has 'n'"):
        _shaped(row, columns={"prompt": "{{ quary }}"})
    with pytest.raises(UsageProblem, match=r"card: shape\.columns\.prompt: line 1"):
        Shaper(Shape(columns={"prompt": "{{ query"}), "card")


def test_instructions_become_prompt_and_answer() -> None:
    row = {"instruction": "Translate.", "input": "chat", "output": "cat"}
    assert _shaped(row, kind="instruction")[0] | row == {**row, "prompt": "Translate.\n\nchat", "answer": "cat"}
    made = _shaped({"instruction": "Say hi.", "input": "", "response": "hi"}, kind="instruction")[0]
    assert (made["prompt"], made["answer"]) == ("Say hi.", "hi")
    for wrong, told in (
        ({"instruction": "x"}, "output is missing"),
        ({"instruction": 3, "output": "y"}, "int, not text"),
    ):
        with pytest.raises(UsageProblem, match=told):
            _shaped(wrong, kind="instruction")


CHAT = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": "Bye."},
]


def test_a_conversation_gives_its_last_answer_or_each() -> None:
    last = _shaped({"messages": CHAT}, kind="messages")
    assert [(row["prompt"], row["answer"], row["system"]) for row in last] == [
        ("User: Hello?\nAssistant: Hi.\nUser: And now?\nAssistant:", "Bye.", "Be short.")
    ]
    every = _shaped({"messages": CHAT}, kind="messages", turns="all")
    assert next((row["prompt"], row["answer"]) for row in every) == ("Hello?", "Hi.")
    assert len(every) == 2


def test_the_other_spelling_of_conversations_is_known() -> None:
    made = _shaped({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, kind="messages")
    assert (made[0]["prompt"], made[0]["answer"]) == ("a", "b")


def test_calls_of_tools_are_the_answer_and_their_results_part_of_the_prompt() -> None:
    call = {"id": "7f", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    chat = [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "content": "Two."},
    ]
    first, second = _shaped({"messages": chat}, kind="messages", turns="all")
    assert json.loads(first["answer"]) == [{"name": "add", "arguments": '{"a": 1}'}]
    assert second["prompt"].endswith("\nTool: 2\nAssistant:")
    assert second["answer"] == "Two."


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": "x"}, "column messages is missing"),
        ({"messages": "x"}, "str, not a list"),
        ({"messages": ["x"]}, "message 1 is str"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "unknown role 'boss'"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "content is list"),
        ({"messages": [{"role": "user", "content": "x"}]}, "no message of the assistant"),
    ],
)
def test_a_conversation_that_is_none_is_named(row: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageProblem, match=told) as caught:
        _shaped(row, kind="messages")
    assert caught.value.message.startswith("file:1: ")


def test_a_shape_without_sense_is_refused() -> None:
    for shape in ({"kind": "columns"}, {"kind": "instruction", "turns": "all"}, {"kind": "list"}):
        with pytest.raises(ValidationError):
            Shape(**shape)  # type: ignore[arg-type]


def test_every_turn_is_a_row_with_a_number_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(json.dumps({"messages": CHAT}) + "\n" + json.dumps({"messages": CHAT}) + "\n")
    rows = _read(tmp_path, "c.jsonl", shape={"kind": "messages", "turns": "all"})
    assert [row.line for row in rows] == [1, 2, 3, 4]
    assert [row.where.rsplit(":", 1)[1] for row in rows] == ["1", "1", "2", "2"]
    assert len(_read(tmp_path, "c.jsonl", shape={"kind": "messages"}, rows=1)) == 1
