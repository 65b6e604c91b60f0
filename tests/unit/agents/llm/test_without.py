"""A language model that is to do without bad cases, or without insights, is told none and asked for none that count."""

from __future__ import annotations

import pytest

from hpc_trex.agents.llm.context import brief_messages, diagnosis_messages, review_messages
from hpc_trex.models import Insight, ResearcherSettings
from tests.llm_server import LlmServer
from tests.minds import Mind
from tests.unit.agents.llm.asking import BUDGET, design, grown, row, text_of
from tests.unit.agents.llm.test_researcher import cluster, drive, launch
from tests.unit.agents.test_prior import lesson

__all__ = ["cluster", "launch"]

ROWS = [row(1), row(2, score=1.0)]


def told(*parts: str) -> dict[str, str]:
    """All that is told of a tree with insights, lessons of earlier searches and bad rows, by question."""
    tree = grown(5)
    tree.lessons = [Insight(text="clean gained a lot", nodes=(1,), kind="move:clean")]
    tree.prior_lessons = (lesson("rank-up", 0.9, weight=3),)
    settings = ResearcherSettings(name="llm", without=parts)
    tree.config = tree.config.model_copy(update={"researcher": settings})
    plan = tree.node(2).plan
    return {
        "design": text_of(design(tree, 2)),
        "diagnosis": text_of(diagnosis_messages(tree, 2, ROWS, budget=BUDGET, rule_report="")),
        "brief": text_of(brief_messages(tree, ROWS, budget=BUDGET)),
        "review": text_of(review_messages(tree, 2, plan, budget=BUDGET)),
    }


def test_without_insights_no_question_holds_one_nor_a_lesson_of_an_earlier_search() -> None:
    whole, bare = told(), told("insights")
    for question in ("design", "diagnosis", "review"):
        assert "clean gained a lot" in whole[question]
        assert "clean gained a lot" not in bare[question]
    for question in ("design", "brief", "review"):
        assert "Lessons of earlier searches" in whole[question]
        assert "Lessons of earlier searches" not in bare[question]
    assert "1 of 2 dev rows are bad" in bare["diagnosis"]


def test_without_bad_cases_no_question_holds_a_row_nor_how_many_are_bad() -> None:
    whole, bare = told(), told("bad-cases")
    for question in ("diagnosis", "brief"):
        assert "1 of 2 dev rows are bad" in whole[question]
        assert "dev:1" in whole[question]
        assert "dev rows are bad" not in bare[question]
        assert "dev:1" not in bare[question]
        assert "does without them" in bare[question]
    assert "clean gained a lot" in bare["diagnosis"]


@pytest.mark.parametrize(("parts", "kept"), [((), True), (("insights",), False)])
def test_what_the_model_claims_without_insights_is_not_kept(launch, cluster, parts, kept):
    with LlmServer(Mind()) as server:
        paths = launch(server, max_nodes=1, without=parts)
        with drive(paths, cluster) as controller:
            texts = [item.text for item in controller.store.insights()]
    assert ("a larger learning rate helps" in texts) is kept
    assert bool(texts) is kept
