"""Which insights stand: merged, weighed, contradicted; and the same in the end whatever came in first."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.models import Insight
from hpc_trex.tree.insights import Settled, Stated, _overruling, by_weight, settle


def told(direction: str, *nodes: int, kind: str = "llm:lr-up", text: str = "") -> Insight:
    words = text or f"{kind} {direction or 'something'} {nodes}"
    return Insight.model_validate({"text": words, "nodes": nodes, "kind": kind, "direction": direction})


def measured(direction: str, *nodes: int, **figures: Any) -> Insight:
    verb = {"helps": "gained", "hurts": "lost", "depends": "depends", "neutral": "makes no", "withdrawn": "is"}[
        direction
    ]
    return Insight.model_validate(
        {"text": f"lr-up {verb} {nodes}", "nodes": nodes, "kind": "move:lr-up", "direction": direction, **figures}
    )


def settled(*said: tuple[int, Insight], struck: frozenset[int] = frozenset()) -> list[Settled]:
    return settle([Stated(one, by, number) for number, (by, one) in enumerate(said)], set(struck))


def stands(*said: tuple[int, Insight], struck: frozenset[int] = frozenset()) -> list[Insight]:
    return [one.insight for one in settled(*said, struck=struck) if one.fate == "stands"]


def test_lessons_that_say_the_same_are_one_with_the_rounds_of_all() -> None:
    found = settled((3, told("helps", 1, 3)), (5, told("helps", 5, text="newest words")))
    assert [(one.fate, one.insight.nodes) for one in found] == [("renewed", (1, 3)), ("stands", (1, 3, 5))]
    assert found[1].insight.text == "newest words"


def test_a_lesson_that_rests_on_the_same_rounds_and_more_takes_the_earlier_back() -> None:
    earlier, later = told("helps", 1, 3), told("hurts", 1, 3, 5)
    found = settled((3, earlier), (5, later))
    assert [(one.fate, one.instead) for one in found] == [("taken back", later.text), ("stands", "")]


def test_lessons_of_other_rounds_that_contradict_each_other_depend() -> None:
    found = settled((3, told("helps", 1, 3)), (5, told("hurts", 4, 5)))
    assert [one.fate for one in found] == ["taken back", "taken back", "stands"]
    both = found[2].insight
    assert both.direction == "depends"
    assert both.nodes == (1, 3, 4, 5)
    assert both.text == (
        "contradicted, it depends: llm:lr-up helps (1, 3) (nodes 1, 3); but llm:lr-up hurts (4, 5) (nodes 4, 5)"
    )
    assert found[0].instead == both.text


def test_a_side_with_twice_the_rounds_outweighs_the_other() -> None:
    found = settled((3, told("helps", 1, 2, 3, 4)), (5, told("hurts", 5, 6)))
    assert [one.fate for one in found] == ["stands", "taken back"]
    assert found[1].instead.startswith("outweighed, 4 rounds against 2: ")


def test_what_was_measured_overrules_what_was_told() -> None:
    claim = measured("hurts", 1, 2)
    found = settled((2, told("helps", 1, 2, 3)), (4, claim), (4, told("hurts", 4, kind="llm:lr-up", text="agrees")))
    assert [one.fate for one in found] == ["taken back", "stands", "stands"]
    assert found[0].instead == f"measured: {claim.text}"
    (alone, _) = settled((2, told("helps", 1, 2, 3)), (4, claim))
    assert (alone.fate, alone.instead) == ("taken back", f"measured: {claim.text}")
    assert stands((2, told("helps", 3)), (4, measured("neutral", 1, 2))) == [measured("neutral", 1, 2)]
    assert len(stands((2, told("helps", 3)), (4, measured("helps", 1, 2)))) == 2
    other = told("helps", 3, kind="llm:short-answers")
    assert other in stands((2, other), (4, claim))


def test_a_claim_that_is_withdrawn_stands_no_more_and_overrules_nothing() -> None:
    lesson = told("helps", 3)
    found = settled((1, measured("hurts", 1)), (2, lesson), (3, measured("withdrawn", 1)))
    assert [one.fate for one in found] == ["taken back", "stands", "taken back"]
    assert found[0].instead == "lr-up is (1,)"


def test_the_newest_without_a_direction_takes_the_place_of_its_kind() -> None:
    assert [one.text for one in stands((1, told("", 1, text="a")), (2, told("helps", 2, text="b")))] == ["b"]
    assert [one.text for one in stands((1, told("helps", 1, text="a")), (2, told("", 2, text="b")))] == ["b"]
    assert len(stands((1, told("", 1, kind="", text="a")), (2, told("", 2, kind="", text="b")))) == 2


def test_a_struck_round_carries_nothing_and_those_it_had_overruled_stand_again() -> None:
    said = ((3, told("helps", 1, 3)), (5, told("hurts", 1, 3, 5)))
    found = settled(*said, struck=frozenset({5}))
    assert [one.fate for one in found] == ["stands", "taken back"]
    assert found[1].instead == "it stands on struck node 5"


def test_the_weightiest_stands_first_and_what_was_measured_before_what_was_told() -> None:
    weak, strong = measured("helps", 1, errors=2.1), measured("hurts", 2, errors=-7.5)
    few, many = told("helps", 1), told("hurts", 1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert by_weight([few, weak, many, strong]) == [strong, weak, many, few]


LESSONS = st.builds(
    lambda direction, nodes, kind: told(direction, *sorted(nodes), kind=kind),
    st.sampled_from(["", "helps", "hurts", "depends", "neutral"]),
    st.sets(st.integers(0, 6), min_size=1, max_size=4),
    st.sampled_from(["llm:lr-up", "llm:form"]),
)


@given(
    st.lists(LESSONS, min_size=1, max_size=8),
    st.sampled_from([None, "helps", "hurts", "depends", "neutral", "withdrawn"]),
    st.sets(st.integers(0, 8), max_size=2),
    st.data(),
)
def test_the_order_of_arrival_does_not_change_what_holds(
    lessons: list[Insight], claim: str | None, struck: set[int], data: st.DataObject
) -> None:
    """Every round says one thing; rounds come in in any order."""
    said = list(enumerate(lessons, start=1))
    if claim is not None:
        said.append((len(said) + 1, measured(claim, 0)))
    shuffled = data.draw(st.permutations(said))

    def holds(order: list[tuple[int, Insight]]) -> set[tuple[str, tuple[int, ...], str, str]]:
        return {(one.text, one.nodes, one.kind, one.direction) for one in stands(*order, struck=frozenset(struck))}

    first = holds(said)
    assert holds(list(shuffled)) == first
    kinds = [kind for _, _, kind, _ in first]
    assert len(kinds) == len(set(kinds))  # of one kind one insight stands
    assert all(struck.isdisjoint(nodes) for _, nodes, _, _ in first)


@given(st.lists(LESSONS, max_size=8))
def test_each_insight_has_one_fate_and_a_reason_where_it_does_not_stand(lessons: list[Insight]) -> None:
    found = settled(*enumerate(lessons))
    own = [one for one in found if not one.insight.text.startswith("contradicted")]
    assert len(own) == len(lessons)
    assert all(one.instead for one in found if one.fate != "stands")


@given(st.lists(LESSONS.map(lambda one: one.model_copy(update={"kind": "llm:one"})), max_size=12))
def test_who_overrules_whom_is_what_comparing_each_with_each_finds(lessons: list[Insight]) -> None:
    ordered = [Stated(one, number, number) for number, one in enumerate(lessons)]

    def overrules(new: Insight, old: Insight) -> bool:
        if not (new.direction and old.direction):
            return True
        return new.direction != old.direction and set(new.nodes) >= set(old.nodes)

    slow = [
        next((new for new in ordered[place + 1 :] if overrules(new.insight, one.insight)), None)
        for place, one in enumerate(ordered)
    ]
    assert _overruling(ordered) == slow
