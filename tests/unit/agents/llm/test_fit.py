"""A context within its budget: what is shortened and left out first, and what never is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.agents.llm.fit import MUST, ContextTooSmall, Part, estimate_tokens, fit, render

ENTRY = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=60)
ENTRIES = st.lists(st.lists(ENTRY, min_size=1, max_size=3).map("\n".join), min_size=1, max_size=12).map("\n\n".join)
PARTS = st.lists(
    st.builds(
        Part,
        title=st.sampled_from(["One", "Two"]),
        text=ENTRIES,
        priority=st.sampled_from([10, 20, 90, MUST]),
        unit=st.just("earlier rounds"),
        data=st.booleans(),
        note=st.just(""),
    ),
    max_size=8,
)


@given(PARTS, st.integers(-5, 3000))
def test_the_budget_is_never_exceeded_and_what_must_be_told_is_told_whole(parts, budget):
    musts = [part for part in parts if part.priority == MUST]
    if estimate_tokens(render(musts)) > budget:
        with pytest.raises(ContextTooSmall, match=rf"room for {max(0, budget)} tokens; what must be told needs \d+"):
            fit(parts, budget)
        return
    kept = fit(parts, budget)
    assert estimate_tokens(render(kept)) <= budget
    assert [part for part in kept if part.priority == MUST] == musts
    if estimate_tokens(render(parts)) <= budget:
        assert kept == parts


def rounds(count: int, priority: int, title: str = "Rounds") -> Part:
    entries = [f"node {number}: score 0.5\n  claimed: {'why ' * 20}" for number in range(1, count + 1)]
    return Part(title, "\n\n".join(entries), priority, "earlier rounds")


@given(st.lists(st.builds(rounds, st.integers(3, 12), st.sampled_from([10, 20, 90])), max_size=6), st.integers(0, 3000))
def test_no_part_is_touched_while_one_of_lower_priority_is_whole(parts, budget):
    kept = fit(parts, budget)
    whole = [part.priority for part in kept if not part.note]
    touched = [part.priority for part in kept if part.note]
    vanished = sorted(part.priority for part in parts)[: len(parts) - len(kept)]
    assert max([*touched, *vanished], default=0) <= min(whole, default=MUST)
    assert not vanished or not whole


def room(*parts: Part) -> int:
    return estimate_tokens(render(parts))


def test_first_entries_are_shortened_to_one_line_then_the_first_ones_are_left_out_and_said():
    part = rounds(20, 10)
    short = fit([part], 400)[0]
    assert "claimed" not in short.text
    assert short.text.count("node ") == 20
    assert render([short]).endswith("(one line each is shown)")
    fewer = fit([part], 100)[0]
    left = 20 - fewer.text.count("node ")
    assert 0 < left < 20
    assert fewer.text.startswith(f"node {left + 1}:")
    assert fewer.text.endswith("node 20: score 0.5")
    assert f"({left} earlier rounds are left out; one line each is shown)" in render([fewer])


def test_as_few_entries_as_possible_are_left_out():
    part = rounds(50, 10)
    for budget in range(60, 400, 17):
        kept = fit([part], budget)[0]
        left = 50 - kept.text.count("node ")
        if left:
            lines = [entry.split("\n")[0] for entry in part.text.split("\n\n")]
            one_more = kept._replace(text="\n\n".join(lines[left - 1 :]))
            assert room(one_more) > budget - 2


def test_the_lowest_priority_goes_first_and_of_two_equal_ones_the_later():
    low, high = rounds(5, 10, "Low"), rounds(5, 20, "High")
    kept = fit([high, low], room(high, low) - 1)
    assert kept[0] == high
    assert kept[1].note
    first, second = rounds(5, 10, "First"), rounds(5, 10, "Second")
    kept = fit([first, second], room(first, second) - 1)
    assert kept[0] == first
    assert kept[1].note


def test_where_nothing_of_a_part_fits_its_title_says_so_and_last_of_all_it_vanishes():
    must, low = Part("Task", "count", MUST), rounds(30, 10)
    said = fit([must, low], room(must) + 25)
    assert render(said).endswith("(all 30 earlier rounds are left out; one line each is shown)") or render(
        said
    ).endswith("(all 30 earlier rounds are left out)")
    assert fit([must, low], room(must)) == [must]


def test_a_cut_part_of_data_keeps_a_closed_fence_with_the_note_outside():
    part = rounds(20, 10)._replace(data=True)
    text = render(fit([part], 150))
    *_, close, note = text.splitlines()
    assert close.startswith("</data ")
    assert "left out" in note


def test_what_must_be_told_and_does_not_fit_is_an_error_that_says_by_how_much():
    must = Part("Task", "x" * 3200, MUST)
    with pytest.raises(ContextTooSmall, match="room for 500 tokens; what must be told needs") as caught:
        fit([must, rounds(3, 10)], 500)
    assert caught.value.exit_code == 2
    missing = int(caught.value.hint.split(" by ")[1].split()[0])
    assert fit([must], 500 + missing) == [must]


def test_another_count_of_tokens_can_be_used():
    assert fit([rounds(3, 10)], 3, count=lambda text: len(text.split("\n\n"))) == [rounds(3, 10)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a" * 32, 10), ("a", 1), ("微调模型", 4), ("ä" * 3, 3), ("😀", 2), ("\ud800", 1), ("abc 微调", 4)],
)
def test_tokens_are_counted_on_the_safe_side_for_every_script(text, tokens):
    assert estimate_tokens(text) == tokens


@given(st.text(), st.text())
def test_the_count_of_a_whole_is_no_more_than_that_of_its_pieces(a, b):
    assert estimate_tokens(a + b) <= estimate_tokens(a) + estimate_tokens(b)
