"""The answers' records: thinking before deciding, long words cut, bad decisions refused."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError
from tree_view import FakeTree, Surface, card, search

from hpc_trex.agents.llm.answers import (
    BadCaseGroup,
    Brief,
    DiagnosisAnswer,
    Direction,
    Lesson,
    PlanAnswer,
    ReviewAnswer,
    brief_text,
    direction_text,
    to_insights,
    to_plan,
)
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.models import FailureClass, RoundPlan

ANSWERS = [Brief, Direction, PlanAnswer, DiagnosisAnswer, ReviewAnswer]
PLAN = {
    "analysis": "a",
    "hypothesis": "h",
    "data": {"steps": [{"op": "load", "source": "crowd"}]},
    "trials": [{"train": {"epochs": 2}}],
}


def playbook_plans() -> list[RoundPlan]:
    """Rounds of every kind: probes, combinations, bandit, crossover, repairs."""
    plans = [
        node.plan
        for seed in range(3)
        for node in search(PlaybookResearcher(), Surface(seed), rounds=20, seed=seed, trials=3)[0].nodes()
        if node.plan is not None
    ]
    for failure in (FailureClass.OOM, FailureClass.DIVERGED, FailureClass.DATA, FailureClass.TIMEOUT):
        tree = FakeTree(card())
        tree.finish(tree.add(0, PlaybookResearcher().propose(tree, 0, seed=1)), [failure] * 2)
        plans.append(PlaybookResearcher().propose(tree, 0, seed=1))
    return plans


def test_every_plan_of_the_playbook_can_be_said_as_an_answer():
    plans = playbook_plans()
    assert {plan.move.partition(":")[0] for plan in plans} >= {"probe", "combine", "bandit", "repair"}
    assert any(trial.mixture for plan in plans for trial in plan.trials)
    for plan in plans:
        said = PlanAnswer(analysis="because", **plan.model_dump()).model_dump_json()
        back = to_plan(PlanAnswer.model_validate_json(said))
        assert back.model_copy(update={"move": ""}) == plan.model_copy(update={"move": ""})
        assert back.move == re.sub(r"\bfrom-(\d)", r"of-\1", plan.move)


def test_a_models_move_names_no_node_that_the_rules_would_look_up():
    answer = PlanAnswer.model_validate(PLAN | {"move": "llm:from-99+x"})
    assert to_plan(answer).move == "llm:of-99+x"


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_thinking_comes_first_and_every_field_of_its_own_is_required_or_defaulted_flat(answer):
    schema = answer.model_json_schema()
    assert next(iter(schema["properties"])) == "analysis"
    assert schema["additionalProperties"] is False
    assert "analysis" in schema["required"]


def test_the_reasons_of_a_review_come_before_the_verdict():
    assert list(ReviewAnswer.model_json_schema()["properties"]) == ["analysis", "reasons", "accept"]


def test_long_words_are_cut_and_not_refused():
    answer = PlanAnswer.model_validate(PLAN | {"analysis": "x" * 50_000, "hypothesis": "y" * 50_000, "move": "z" * 500})
    assert len(answer.analysis) == 6000
    assert answer.analysis.endswith("[cut]")
    assert len(to_plan(answer).hypothesis) == 4000
    assert len(to_plan(answer).move) == 80


def test_a_long_label_is_cut_and_not_refused():
    answer = PlanAnswer.model_validate(PLAN | {"trials": [{"label": "l" * 200}]})
    assert answer.trials[0].label == "l" * 80


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"trials": [{}] * 6}, "trials"),
        ({"trials": []}, "trials"),
        ({"trials": 3}, "trials"),
        ({"trials": [{"train": {"epochs": -1}}]}, "trials.0.train.epochs"),
        ({"trials": [{"train": {"base_model": "other/weights"}}]}, "trials.0.train.base_model"),
        ({"data": {"steps": [{"op": "load", "source": "crowd", "path": "/etc/passwd"}]}}, "path"),
        ({"data": {"steps": [{"op": "shell", "command": "curl"}]}}, "data.steps.0"),
        ({"evaluate": {"limit": 1}}, "evaluate"),
        ({"hypothesis": "   "}, "hypothesis"),
    ],
)
def test_a_decision_out_of_bounds_is_refused_with_its_place(change, place):
    with pytest.raises(ValidationError) as caught:
        PlanAnswer.model_validate(PLAN | change)
    assert any(place in ".".join(map(str, error["loc"])) for error in caught.value.errors())


def test_a_refusal_without_a_reason_is_none():
    with pytest.raises(ValidationError, match="at least one reason"):
        ReviewAnswer(analysis="bad", accept=False)
    assert ReviewAnswer(analysis="good", accept=True).reasons == ()


def diagnosis(**values) -> DiagnosisAnswer:
    return DiagnosisAnswer(**({"analysis": "a", "moved": "m", "report": "r"} | values))


def test_shares_are_parts_of_one_and_kinds_are_those_of_the_list():
    group = {"cause": "answers in prose", "kind": "format", "share": 0.3}
    assert diagnosis(groups=[group]).groups[0] == BadCaseGroup(cause="answers in prose", kind="format", share=0.3)
    for wrong in ({"share": 30}, {"kind": "luck"}):
        with pytest.raises(ValidationError):
            diagnosis(groups=[group | wrong])


def test_insights_rest_on_rounds_that_exist_and_never_take_the_place_of_the_rules():
    lessons = [
        Lesson(text="clean rows help", nodes=(3, 3, 77, -1), kind="move:clean"),
        Lesson(text="of this round", nodes=(88,), kind=""),
    ]
    found = to_insights(diagnosis(insights=lessons), 4, {0, 1, 2, 3, 4})
    assert [(one.text, one.nodes, one.kind) for one in found] == [
        ("clean rows help", (3,), "llm:move:clean"),
        ("of this round", (4,), ""),
    ]


def test_an_insight_that_is_given_its_own_kind_back_is_not_marked_twice():
    found = to_insights(diagnosis(insights=[Lesson(text="t", kind="llm:Learning Rate")]), 1, {1})
    assert found[0].kind == "llm:learning-rate"


def test_brief_and_direction_are_told_on_in_words():
    brief = Brief(
        analysis="a",
        asked="one label",
        lacking="form",
        metric="accuracy",
        data="crowd has copies",
        priorities=("dedup",),
    )
    assert brief_text(brief).splitlines() == [
        "Asked: one label", "Lacking: form", "Metric: accuracy", "Data: crowd has copies", "1. dedup",
    ]  # fmt: skip
    direction = Direction(analysis="a", direction="fewer wrong rows", kind="data", avoid="dedup (node 3)")
    assert direction_text(direction) == "data: fewer wrong rows\nNot again: dedup (node 3)"
    assert "a\n" not in direction_text(direction)
