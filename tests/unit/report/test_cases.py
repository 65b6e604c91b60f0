"""Bad cases of a round against its parent's, as ``show`` prints them and the page holds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.files import write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models.cases import CaseReport, ChangedRow, GroupView, Movement, Transition
from hpc_trex.report.cases import cases_text, cases_view, read_cases, transition_table

MOVED = Movement(
    parent=1,
    parent_trial=2,
    pairs=20,
    unpaired=1,
    fixed=6,
    broken=1,
    still_bad=3,
    still_right=10,
    gain=0.25,
    test="mcnemar",
    up=6,
    down=1,
    p_value=0.125,
    transitions=(
        Transition(before="format", now="right", rows=6),
        Transition(before="content", now="content", rows=2),
        Transition(before="format", now="content", rows=1),
        Transition(before="right", now="refusal", rows=1),
    ),
    examples=(ChangedRow(row_id="dev:4", group="refusal", prompt="p", before="b", now="<b>no</b>", reference="b"),),
)
GROUPS = (
    GroupView(group="content", rows=3, row_id="dev:1", prompt="p", answer="a", reference="r"),
    GroupView(group="refusal", rows=1, row_id="dev:4", prompt="p", answer="a", reference="r"),
)
CASES = CaseReport(node=3, trial=1, rows=20, bad=4, bar=0.5, groups=GROUPS, movement=MOVED)


def test_groups_stand_beside_those_of_the_parent_and_those_that_vanished_are_named() -> None:
    lines = cases_text(CASES).splitlines()
    assert lines[0] == "bad cases  4 of 20 dev rows of trial 1 are bad (the bar is a score of 0.5)."
    assert [line.split() for line in lines[1:4]] == [
        ["content", "3", "15%", "2", "in", "node", "1"],
        ["refusal", "1", "5%", "0", "in", "node", "1"],
        ["format", "0", "0%", "7", "in", "node", "1"],
    ]
    text = "\n".join(lines)
    assert "Against node 1 trial 2, 20 rows: 6 fixed, 1 broken, 3 still bad, 10 still right." in text
    assert "McNemar's exact test: p = 0.12." in text
    assert "1 rows have no partner" in text
    assert "<b>" not in text


def test_the_table_counts_every_pair_once() -> None:
    table = transition_table(MOVED)
    assert table == [
        ["before, now:", "right", "content", "refusal"],
        ["right", "10", "0", "1"],
        ["content", "0", "2", "0"],
        ["format", "6", "1", "0"],
    ]
    assert sum(int(cell) for row in table[1:] for cell in row[1:]) == MOVED.pairs


def test_what_was_not_compared_says_why() -> None:
    cases = CASES.model_copy(update={"movement": None, "not_compared": "the samples of node 1 are gone"})
    assert cases_text(cases).endswith("not compared: the samples of node 1 are gone")
    view = cases_view(cases)
    assert view is not None
    assert view["lines"][-1] == "Not compared: the samples of node 1 are gone."
    assert view["table"] == view["broken"] == []


def test_a_file_that_is_missing_is_none_and_a_damaged_one_too(tmp_path: Path) -> None:
    search = SearchPaths(tmp_path)
    assert read_cases(search, 3) is None
    assert cases_view(None) is None
    search.node(3).mkdir(parents=True)
    write_record(search.cases(3), CASES)
    assert read_cases(search, 3) == CASES
    search.cases(3).write_text("{")
    assert read_cases(search, 3) is None


def test_a_graded_metric_names_its_sign_test() -> None:
    moved = MOVED.model_copy(update={"test": "sign", "up": 9, "down": 2})
    assert "sign test, 9 rows rose and 2 fell" in cases_text(CASES.model_copy(update={"movement": moved}))


@pytest.mark.parametrize("group", ["right", "anything"])
def test_no_group_of_bad_rows_is_called_right(group: str) -> None:
    with pytest.raises(ValueError, match="group"):
        GroupView.model_validate({**GROUPS[0].model_dump(), "group": group})
