"""Training rows that hold what is evaluated on, as a second look at the finished set finds them."""

from __future__ import annotations

from hpc_trex.agents.leaks import TrainingRow, around, folded, read_blocked, scan
from hpc_trex.ftbench.ngrams import NGRAM, telling_ngrams
from hpc_trex.ftbench.rows import item_hash

DEV = ["Sort: pear, fig", "What is 3 + 4?"]
LONG = "the quick brown fox jumps over the lazy dog while seven grey geese watch from the pond"
LINES = [item_hash(prompt) for prompt in DEV] + [f"n{NGRAM}:{gram:016x}" for gram in telling_ngrams([LONG])]


def look(*prompts: str, affixes: tuple[str, str] | None = ("", ""), sources: tuple[str, ...] = ()):
    rows = [TrainingRow(f"s:{place}", prompt, "x") for place, prompt in enumerate(prompts)]
    return scan(rows, len(rows), affixes, read_blocked(LINES), DEV, lambda: sources)


def test_clean_rows_are_clean():
    found = look("Sort: pear, plum", "What is 3 - 4?", "What is 34?")
    assert (found.whole, found.hidden, found.inherent, found.parts, found.example) == (0, 0, 0, 0, "")


def test_whole_prompts_whatever_case_and_blanks():
    found = look("clean", "sort:  PEAR, fig ")
    assert (found.whole, found.example) == (1, "s:1")


def test_a_prompt_in_a_disguise_that_no_source_has_is_hidden_else_inherent():
    disguised = "Sort:\u200b pear, \uff46ig"
    assert folded(disguised) == folded(DEV[0])
    assert (look(disguised).hidden, look(disguised).inherent) == (1, 0)
    found = look(disguised, sources=(disguised,))
    assert (found.hidden, found.inherent) == (0, 1)


def test_words_in_a_row_in_prompt_or_answer():
    assert look(f"Copy this. {LONG.upper()}!").parts == 1
    assert look("the quick brown fox jumps").parts == 0


def test_what_a_format_puts_around_is_read_off_a_row_whose_text_is_known():
    raw = {"s:1": "second"}
    rows = [TrainingRow(f"s:{place}", f"<user>{text}</user>", "x") for place, text in enumerate(("first", "second"))]
    assert around(rows, raw) == ("<user>", "</user>")
    assert around(rows, {}) is None
    found = look(f"<user>{DEV[0]}</user>", affixes=("<user>", "</user>"))
    assert (found.whole, found.compared) == (1, True)
    assert not look("x", affixes=None).compared
