"""Calls on disk: what was recorded is found again, sums are right, and no name leads out of the folder."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.layout import SearchPaths
from hpc_trex.models import LlmCall, LlmUsage

COUNTS = st.none() | st.integers(0, 10**7)
USAGES = st.builds(
    LlmUsage,
    tokens_in=COUNTS,
    tokens_out=COUNTS,
    tokens_cached=COUNTS,
    money=st.none() | st.floats(0, 1000),
    seconds=st.floats(0, 1000),
    requests=st.integers(0, 9),
)
WORDS = st.text("abcXYZ019_-", min_size=1, max_size=12).filter(lambda word: not word.startswith("-"))
NAMES = st.lists(WORDS, min_size=1, max_size=4).map("/".join)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


def call(name: str = "node-0001/plan-1", *, node: int = 1, value: dict | None = None, **fields) -> LlmCall:
    given = {"role": "researcher", "model": "m", "messages": ({"role": "user", "content": "?"},), "schema_name": "Plan"}
    return LlmCall(call=name, node=node, value=value, **(given | fields))


@settings(max_examples=40, deadline=None)  # each flushes a file to the disk
@given(NAMES, TEXTS, USAGES)
def test_what_was_recorded_is_found_again_and_nothing_else_is_made(name, text, usage):
    with tempfile.TemporaryDirectory() as folder:
        made = call(name, value={"a": text}, usage=usage, replies=(text,))
        Ledger(Path(folder, "llm")).record(made)
        ledger = Ledger(Path(folder, "llm"))
        assert ledger.find(name) == made
        assert ledger.calls() == [made]
        assert ledger.spent().tokens_in == (usage.tokens_in or 0)
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        assert files == [Path(folder, "llm", f"{name}.json")]


@settings(deadline=None)
@given(st.text(max_size=30) | st.text("ab./\\\0 ~", max_size=12))
def test_a_name_leads_nowhere_else_or_is_refused(name):
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder, "llm"))
        try:
            path = ledger.path(name)
        except ValueError:
            return
        assert path.resolve().is_relative_to(Path(folder, "llm").resolve())
        assert path.suffix == ".json"


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../out", "a/../b", "a//b", "a/", ".a", "a.failed-1", "a b", "a\n", "ä", "-x", "a" * 101],
)
def test_odd_names_are_refused(tmp_path, name):
    ledger = Ledger(tmp_path)
    with pytest.raises(ValueError, match="identity"):
        ledger.record(call(name))
    with pytest.raises(ValueError, match="identity"):
        ledger.find(name)
    assert not list(tmp_path.iterdir())


def test_failures_stand_beside_the_answer_in_the_order_they_came(tmp_path):
    ledger = Ledger(tmp_path)
    for number in range(12):
        ledger.record(call(error=f"e{number}", replies=("no",)))
    assert ledger.find("node-0001/plan-1") is None
    ledger.record(call(value={"a": 1}))
    ledger.record(call("node-0001/plan-10", value={"a": 3}))
    ledger.record(call("node-0001/plan-2", value={"a": 2}))
    found = ledger.calls()
    assert [one.error for one in found[:12]] == [f"e{number}" for number in range(12)]
    assert [one.value for one in found[12:]] == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert (tmp_path / "node-0001" / "plan-1.failed-12.json").is_file()


def test_what_is_booked_is_not_read_again(tmp_path, monkeypatch):
    """Each answer about rows had the calls of the whole search read: thousands of files a tick."""
    ledger = Ledger(tmp_path)
    for name in ("node-0001/rows-a", "node-0001/rows-b", "node-0002/plan-1"):
        ledger.record(call(name, node=int(name[8]), error="away"))
        ledger.record(call(name, node=int(name[8]), value={}))
    reads = []
    monkeypatch.setattr("hpc_trex.agents.llm.ledger.read_record", lambda path, form: reads.append(path.name) or call())
    everything = [name for name, _ in ledger.named()]
    assert everything[:3] == ["node-0001/rows-a.failed-1", "node-0001/rows-a", "node-0001/rows-b.failed-1"]
    reads.clear()
    assert [name for name, _ in ledger.named({*everything} - {"node-0001/rows-b"})] == ["node-0001/rows-b"]
    assert reads == ["rows-b.json"]


def test_sums_are_of_all_calls_or_of_one_node(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record(call("a", node=1, value={}, usage=LlmUsage(tokens_in=10, tokens_out=1, money=0.5, requests=1)))
    ledger.record(call("b", node=2, error="no", replies=("x",), usage=LlmUsage(tokens_in=5, tokens_out=2, requests=2)))
    ledger.record(call("c", node=2, value={}, replies=("y" * 400,), usage=LlmUsage(requests=1)))
    all_of_it, second = ledger.spent(), ledger.spent(2)
    assert (all_of_it.tokens_in, all_of_it.tokens_out, all_of_it.money, all_of_it.requests) == (15, 3, 0.5, 4)
    assert (all_of_it.calls, all_of_it.unknown) == (3, 1)
    assert all_of_it.tokens_guessed >= 100
    assert (second.tokens_in, second.calls) == (5, 2)
    assert [one.call for one in ledger.calls(2)] == ["b", "c"]


def test_sums_follow_what_another_process_writes(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record(call("a", value={}, usage=LlmUsage(tokens_in=10)))
    assert ledger.spent().tokens_in == 10
    Ledger(tmp_path).record(call("b", value={}, usage=LlmUsage(tokens_in=7)))
    assert ledger.spent().tokens_in == 17
    (tmp_path / "a.json").unlink()
    assert ledger.spent().tokens_in == 7


def test_a_damaged_record_is_none(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record(call("a", value={}))
    (tmp_path / "a.json").write_text('{"call": "a"')
    assert ledger.find("a") is None
    assert ledger.calls() == []
    assert ledger.spent().calls == 0


def test_threads_that_record_failures_overwrite_none(tmp_path):
    ledger = Ledger(tmp_path)
    threads = [threading.Thread(target=ledger.record, args=(call(error="no", replies=(str(n),)),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.replies[0] for one in ledger.calls()) == [str(number) for number in range(8)]


def test_a_free_failure_of_another_question_is_kept(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record(call(error="away", digest="1", usage=LlmUsage(requests=3)))
    ledger.record(call(error="away", digest="1", usage=LlmUsage(requests=3)))
    ledger.record(call(error="away", digest="2", usage=LlmUsage(requests=1)))
    assert [one.usage.requests for one in ledger.calls()] == [6, 1]


def test_the_ledger_has_its_folder_in_a_search(tmp_path):
    assert SearchPaths(tmp_path).llm == tmp_path / "llm"
