"""What the model is told: the tree around a round, all that can be done, and each request within its budget."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tree_view import FakeTree, card

from hpc_trex.agents.llm.context import (
    PRIORITY,
    brief_messages,
    diagnosis_messages,
    estimate_tokens,
    review_messages,
    revise_messages,
)
from hpc_trex.agents.llm.facts import CODE, OPERATORS
from hpc_trex.agents.llm.fit import ContextTooSmall
from hpc_trex.agents.llm.prompts import load_prompt
from hpc_trex.agents.movement import Before, case_report, outcomes
from hpc_trex.agents.moves import TRAIN_FIELDS
from hpc_trex.agents.protocol import Sample
from hpc_trex.models import FailureClass, Insight, Stage
from hpc_trex.models.asking import ASKING
from hpc_trex.models.cases import CaseReport
from hpc_trex.models.knowledge import Lesson
from tests.unit.agents.llm.asking import BUDGET, PLAYBOOK, design, grown, part, row


def test_the_rounds_around_the_parent_are_told_each_once() -> None:
    tree = grown()
    parent = max((node for node in tree.nodes() if node.depth >= 2 and node.children), key=lambda node: node.depth).id
    messages = design(tree, parent)
    titles = {
        "way": "The way to the parent",
        "tried": f"Tried or under way from node {parent}",
        "parent": f"The parent, node {parent}",
    }
    told = {name: re.findall(r"^node (\d+) ", part(messages, title), re.MULTILINE) for name, title in titles.items()}
    assert told["way"] == [str(node.id) for node in tree.path(parent)[:-1]]
    assert told["tried"] == [str(node.id) for node in tree.children(parent)]
    assert told["parent"] == [str(parent)]
    every = re.findall(r"^node (\d+) \(", messages[-1]["content"], re.MULTILINE)
    assert len(every) == len(set(every))


def test_rounds_under_way_are_told_wherever_they_are_so_that_rounds_designed_at_once_differ() -> None:
    tree = FakeTree()
    tree.finish(tree.add(0, PLAYBOOK.propose(tree, 0, seed=1)), [0.4, 0.5])
    here = tree.add(1, PLAYBOOK.propose(tree, 1, seed=1))
    away = tree.add(0, PLAYBOOK.propose(tree, 0, seed=2))
    far = tree.add(here, PLAYBOOK.propose(tree, here, seed=3))
    messages = design(tree, 1)
    assert f"node {here} (from node 1): under way" in part(messages, "Tried or under way from node 1")
    assert f"node {away} (from node 0): under way" in part(messages, "Siblings of the parent")
    assert f"node {far} (from node {here}): under way" in part(messages, "Under way elsewhere")
    assert "changes: " in part(messages, "Under way elsewhere")


def test_the_parents_plan_stands_there_in_the_form_of_an_answer() -> None:
    tree = grown(5)
    node = tree.node(4)
    shown = part(design(tree, 4), "The parent, node 4")
    data = json.loads(re.search(r"^data = (.*)$", shown, re.MULTILINE).group(1))
    train = json.loads(re.search(r"^train = (.*)$", shown, re.MULTILINE).group(1))
    best = node.plan.trials[node.best_trial - 1].train
    assert type(node.plan.data).model_validate(data) == node.plan.data
    assert type(best).model_validate(train) == best.resolved()
    assert f"trial {node.best_trial}, the best" in shown


def test_from_the_baseline_the_default_plan_is_what_is_changed() -> None:
    shown = part(design(FakeTree(), 0), "The parent, node 0")
    assert '{"op":"load","source":"curated"}' in shown
    assert '"learning_rate": 0.001' in shown


def test_every_operator_and_every_field_with_its_bounds_is_told() -> None:
    messages = design(FakeTree(), 0)
    operators, training = part(messages, "Data operators"), part(messages, "Training")
    unsaid = [one for one in OPERATORS if one in ASKING or one.model_fields["op"].default == CODE]
    assert not [one for one in unsaid if f"\n- {one.model_fields['op'].default}: " in operators], "not in this search"
    for operator in (one for one in OPERATORS if one not in unsaid):
        fields = operator.model_fields
        assert f"- {fields['op'].default}: " in operators
        assert all(f"  - {name}: " in operators for name in fields if name != "op")
    assert all(f"  - {name.removeprefix('lora.')}: " in training for name in TRAIN_FIELDS)
    assert all(f"  - {name}: " in training for name in Stage.model_fields)
    assert "rejected: list of string; default []" in training
    assert "drop_fraction: number > 0 < 1; default 0.3" in operators
    assert 'schedule: "constant" | "linear" | "cosine"; default "cosine"' in training
    assert len(OPERATORS) >= 12


def test_what_is_known_of_noise_budget_and_lessons_is_told() -> None:
    tree = grown(4)
    tree.noise_sd = 0.02
    tree.lessons = [Insight(text="clean gained +0.1", nodes=(2,), kind="move:clean")]
    messages = design(tree, 2)
    assert "sd 0.0200; a difference of two scores below 0.0566 is no result" in part(
        messages, "Where the search stands"
    )
    assert "Rounds: 4 of 4 designed" in part(messages, "Where the search stands")
    assert "move:clean: clean gained +0.1 (nodes 2)" in part(messages, "Insights")
    tree.noise_sd = None
    assert "not measured yet" in part(design(tree, 2), "Where the search stands")


def test_a_lower_score_is_called_better_where_the_metric_says_so() -> None:
    tree = FakeTree(card(higher=False))
    tree.finish(tree.add(0, PLAYBOOK.propose(tree, 0, seed=1)), [0.2, 0.25])
    messages = design(tree, 1)
    assert "(-0.0700 against its parent, better)" in part(messages, "The parent")
    assert "lower is better" in part(messages, "Task")


def test_a_failed_round_says_how_it_failed_and_a_struck_one_that_it_is_no_evidence() -> None:
    tree = FakeTree()
    failed = tree.add(0, PLAYBOOK.propose(tree, 0, seed=1))
    tree.finish(failed, [FailureClass.OOM] * 2)
    tree._nodes[failed] = tree.node(failed).model_copy(update={"struck": True})
    shown = part(design(tree, 0), "Tried or under way from node 0")
    assert "failed OOM, struck from the tree: no evidence" in shown
    assert "trial 1 (default): failed OOM." in shown


def test_notes_and_direction_are_told_as_they_are() -> None:
    messages = design(FakeTree(), 0, direction="data: no copies", notes=["keep the crowd source"])
    assert "- keep the crowd source" in part(messages, "Notes")
    brief = brief_messages(FakeTree(), [row(1)], budget=BUDGET, notes=["the labels are in French"])
    assert "- the labels are in French" in part(brief, "Notes")
    assert "### Direction\ndata: no copies" in messages[-1]["content"]


# ---- one prefix for all questions -------------------------------------------------------------------------------------


def test_all_questions_of_a_search_begin_alike_so_that_a_server_can_cache_it() -> None:
    tree = grown(6)
    first = [design(tree, 1), design(tree, 3, stage="direction"), brief_messages(tree, [row(1)], budget=BUDGET)]
    tree.finish(tree.add(3, PLAYBOOK.propose(tree, 3, seed=9)), [0.5, 0.5])
    tree.lessons = [Insight(text="new", nodes=(1,))]
    later = [design(tree, 1), diagnosis_messages(tree, 3, [row(1)], budget=BUDGET, rule_report="r")]
    assert all([m["role"] for m in messages] == ["system", "user"] for messages in first + later)
    assert len({messages[0]["content"] for messages in first + later}) == 1
    operators_end = first[0][1]["content"].index("## Brief")
    for messages in [*first[1:], later[0]]:
        assert messages[1]["content"][:operators_end] == first[0][1]["content"][:operators_end]
    task_end = first[0][1]["content"].index("## Data operators")
    assert later[1][1]["content"][:task_end] == first[0][1]["content"][:task_end]


# ---- the budget -------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1000, 9000), st.integers(0, 12), st.integers(0, 30))
def test_no_request_is_longer_than_its_budget_and_each_holds_what_must_be_told(budget, parent, rows) -> None:
    samples = [row(number, prompt="why " * number) for number in range(rows)]
    questions = {
        "design": lambda: design(TREE, parent, settings_budget=budget),
        "direction": lambda: design(TREE, parent, settings_budget=budget, stage="direction"),
        "diagnosis": lambda: diagnosis_messages(TREE, parent, samples, budget=budget, rule_report="line\n" * 300),
        "brief": lambda: brief_messages(TREE, samples, budget=budget),
        "review": lambda: review_messages(TREE, parent, TREE.node(3).plan, budget=budget),
    }
    for name, ask in questions.items():
        try:
            messages = ask()
        except ContextTooSmall:
            assert budget < 5300, name
            continue
        assert sum(estimate_tokens(message["content"]) for message in messages) <= budget
        assert "Metric on the dev split: exact_match" in part(messages, "Task")
        if name in ("design", "direction", "review"):
            assert "filter_loss" in part(messages, "Data operators")
            assert f"node {parent} (" in part(messages, f"The parent, node {parent}")


TREE = grown(12)


def crowded() -> FakeTree:
    """A tree in which every part of a design's context has entries."""
    tree = FakeTree(max_nodes=60)
    tree.noise_sd = 0.01
    tree.prior_lessons = tuple(
        Lesson(move=f"m{number}", verdict="gain", effect=0.1, searches=3, rounds=5, weight=2.0, evidence=())
        for number in range(12)
    )
    tree.lessons = [Insight(text=f"lesson {number} " + "of some length " * 9, nodes=(1,)) for number in range(9)]
    seeds = iter(range(100))

    def grow(parent: int, *scores: float) -> int:
        number = tree.add(parent, PLAYBOOK.propose(tree, parent, seed=next(seeds)))
        if scores:
            tree.finish(number, list(scores))
        return number

    for number in range(5):
        grow(0, 0.3 + number / 50, 0.3)
    middle = grow(2, 0.4, 0.41)
    parent = grow(middle, 0.5, 0.45)
    for number in range(4):
        grow(middle, 0.4 + number / 50, 0.4)
        grow(parent, 0.5 + number / 50, 0.5)
        grow(4)
    tree.parent = parent
    return tree


def test_what_is_left_out_first_is_as_documented_and_each_part_says_what_it_lost() -> None:
    tree = crowded()
    titles = {
        "siblings": "Siblings of the parent",
        "key nodes": "Key rounds",
        "earlier path": "The way to the parent",
        "under way": "Under way elsewhere",
        "earlier searches": "Lessons of earlier searches",
        "insights": "Insights",
        "children": "Tried or under way from node",
        "brief": "Brief of the task",
    }
    brief = "\n".join("a line of the brief" for _ in range(30))
    whole = design(tree, tree.parent, brief=brief)
    budget = sum(estimate_tokens(message["content"]) for message in whole)
    lost: list[str] = []
    while len(lost) < len(titles):
        messages = design(tree, tree.parent, brief=brief, settings_budget=budget)
        for name, title in titles.items():
            if name not in lost and part(messages, title) != part(whole, title):
                assert re.search(r"\((\d+ [a-z ]+ (is|are) left out|one line each|all \d+)", part(messages, title))
                lost.append(name)
        budget -= 50
    assert lost == list(titles)
    assert lost == [name for name in sorted(PRIORITY, key=PRIORITY.__getitem__) if name in titles]


def test_a_budget_that_cannot_hold_the_facts_is_refused_with_the_setting_to_raise() -> None:
    with pytest.raises(ContextTooSmall, match="what must be told needs") as caught:
        design(FakeTree(), 0, settings_budget=1000)
    more = int(caught.value.hint.split(" by ")[1].split()[0])
    assert design(FakeTree(), 0, settings_budget=1000 + more)


# ---- reading, revising, reviewing -------------------------------------------------------------------------------------


def test_rows_are_shown_of_each_kind_in_turn() -> None:
    samples = [row(number, flags=("truncated",)) for number in range(100)] + [row(200), row(201, flags=("empty",))]
    messages = diagnosis_messages(grown(3), 2, [*samples, row(300, score=1.0)], budget=BUDGET, rule_report="rules say")
    assert "102 of 103 dev rows are bad" in part(messages, "Bad cases")
    assert "- truncation: 100 (97%)" in part(messages, "Bad cases")
    shown = part(messages, "Bad dev rows")
    assert "dev:200" in shown
    assert "dev:201" in shown
    assert "dev:300" not in shown
    assert "rules say" in part(messages, "Report of the rules")


def test_a_failed_round_without_rows_can_be_read() -> None:
    tree = FakeTree()
    tree.finish(tree.add(0, PLAYBOOK.propose(tree, 0, seed=1)), [FailureClass.DIVERGED] * 2)
    messages = diagnosis_messages(tree, 1, [], budget=BUDGET, rule_report="Node 1 has no score.")
    assert "failed DIVERGED" in part(messages, "The round to read, node 1")
    assert "no evaluated rows" in part(messages, "Bad cases")


def test_the_brief_shows_right_rows_beside_the_bad_ones() -> None:
    messages = brief_messages(FakeTree(), [row(1), row(2, score=1.0)], budget=BUDGET)
    assert "dev:1" in part(messages, "Bad dev rows")
    assert "dev:2" in part(messages, "Right dev rows")


def test_a_refused_plan_comes_back_with_its_reasons() -> None:
    asked = design(FakeTree(), 0)
    messages = revise_messages(asked, '{"hypothesis": "h"}', ["load: unknown source 'web'", "trial 1: epochs"])
    assert messages[:2] == asked
    assert messages[2] == {"role": "assistant", "content": '{"hypothesis": "h"}'}
    assert "- load: unknown source 'web'\n- trial 1: epochs" in messages[3]["content"]
    again = revise_messages(messages, "{}", ["still wrong"])
    assert [message["role"] for message in again] == ["system", "user", "assistant", "user", "assistant", "user"]


def test_the_reviewer_is_told_the_plan_its_changes_and_its_near_duplicates() -> None:
    tree = grown(4)
    plan = tree.node(2).plan
    messages = review_messages(tree, 1, plan, budget=BUDGET)
    assert messages[0]["content"] == load_prompt("reviewer").system()
    shown = part(messages, "The plan to review")
    assert '{"op":"dedup","columns":["prompt","answer"],"method":"exact"}' in shown
    assert 'trial 2 (epochs-up): train = {"learning_rate": 0.001, "epochs": 9.0' in shown
    assert "changes: with dedup" in shown
    assert "trial 1 is nearly trial 1 of node 2" in part(messages, "Near duplicates")


def test_lessons_of_earlier_searches_are_told_before_what_changes() -> None:
    tree = grown(3)
    lesson = Lesson(move="clean", verdict="gain", effect=0.1, searches=3, rounds=5, weight=2.0, evidence=())
    tree.prior_lessons = (lesson,)
    messages = design(tree, 1)
    assert "clean gained +0.100 in 3 searches" in part(messages, "Lessons of earlier searches")
    assert messages[1]["content"].index("## Lessons of earlier") < messages[1]["content"].index("## Brief")


def moved_cases(tree: FakeTree, rows: list[Sample]) -> CaseReport:
    """The rows of the parent were all right but the last."""
    then = [one._replace(score=1.0, answer="right before") for one in rows[:-1]] + [rows[-1]._replace(score=0.0)]
    return case_report(tree.task, 2, 1, outcomes(rows, tree.task), Before(0, 1, outcomes(then, tree.task)))


def test_how_the_rows_moved_is_told_and_broken_rows_outlast_other_bad_ones() -> None:
    tree, rows = grown(3), [row(number) for number in range(60)] + [row(99, score=1.0)]
    cases = moved_cases(tree, rows)
    whole = diagnosis_messages(tree, 2, rows, budget=BUDGET, rule_report="", cases=cases)
    counts = part(whole, "Rows against the parent's")
    assert "Against node 0 row by row: 1 fixed, 60 broken" in counts
    assert "right to content 60" in counts
    broken = part(whole, "Rows that were right and are bad")
    assert broken.count("broken (content)") == 5
    assert "<data " in broken  # it quotes answers
    needed = sum(estimate_tokens(message["content"]) for message in whole)
    small = diagnosis_messages(tree, 2, rows, budget=needed - 600, rule_report="", cases=cases)
    assert sum(estimate_tokens(message["content"]) for message in small) <= needed - 600
    assert "rows" in part(small, "Bad dev rows").rpartition("(")[2]  # left out first
    assert part(small, "Rows that were right and are bad").count("broken (content)") == 5
    assert "1 fixed, 60 broken" in part(small, "Rows against the parent's")


def test_rows_that_were_not_compared_say_why_to_the_model_too() -> None:
    tree, rows = grown(3), [row(1)]
    cases = case_report(tree.task, 2, 1, outcomes(rows, tree.task), "the samples of node 0 are gone")
    messages = diagnosis_messages(tree, 2, rows, budget=BUDGET, rule_report="", cases=cases)
    assert "Rows not compared: the samples of node 0 are gone." in part(messages, "Rows against the parent's")
