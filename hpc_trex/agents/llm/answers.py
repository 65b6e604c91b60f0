"""What the model answers: one flat record a question, the reasoning before the decision.

A model writes the fields in the order of the schema, so the fields that think stand first. Texts that are longer than
wanted are cut, not refused: the whole of them is in the record of the call, and a repair turn would pay for nothing.
What decides (recipes, trials, shares) is refused when it is out of bounds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from hpc_trex.models import MAX_TRIALS, DataRecipe, Insight, RoundPlan, TrialPlan
from hpc_trex.models.base import Record

#: What could steer the terminal of whoever reads it: control characters other than tab and newline.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

CauseKind = Literal["format", "knowledge", "reasoning", "refusal", "truncation", "language", "other"]


def _cut(length: int) -> BeforeValidator:
    def cut(value: object) -> object:
        if not isinstance(value, str):
            return value
        text = CONTROL.sub("", value).strip()
        return text if len(text) <= length else text[: length - 6].rstrip() + " [cut]"

    return BeforeValidator(cut)


LongText = Annotated[str, Field(min_length=1), _cut(6000)]
MiddleText = Annotated[str, Field(min_length=1), _cut(2000)]
ShortText = Annotated[str, Field(min_length=1), _cut(400)]


class Brief(Record):
    """What the task asks for, before anything is trained."""

    analysis: LongText
    """What the card, the rows and the base model's bad cases show; first think, then fill the fields below."""
    asked: MiddleText
    """What a right answer is, with its form."""
    lacking: MiddleText
    """What the base model cannot do yet, most frequent first."""
    metric: MiddleText
    """How an answer is scored, and where the training objective (likelihood of the answer) and this metric part."""
    data: MiddleText
    """What each training source is good for, and what is wrong with it, as far as it shows."""
    priorities: tuple[ShortText, ...] = Field(min_length=1, max_length=8)
    """What to try, the most promising first, within the operators and training fields."""
    queries: tuple[ShortText, ...] = Field(default=(), max_length=6)
    """What to look up in literature, data sets and models: a few technical keywords each; none of the rows' own words."""


class Direction(Record):
    """Coarse design: where to look next from one round."""

    analysis: LongText
    """What the rounds so far show and what they leave open."""
    direction: MiddleText
    """The one question that the next round answers."""
    kind: Literal["data", "mixture", "training", "combination", "repair"]
    """What the round changes."""
    avoid: Annotated[str, _cut(2000)] = ""
    """What must not be repeated, with its node."""


class PlanAnswer(Record):
    """One round plan. The fields after ``analysis`` are those of a ``RoundPlan``."""

    analysis: LongText
    """Why this round, from which evidence, and what could make it fail."""
    hypothesis: Annotated[str, Field(min_length=1), _cut(4000)]
    """What is claimed, with the nodes that it rests on."""
    expected_effect: Annotated[str, _cut(2000)] = ""
    """What the score and the bad cases should do if the hypothesis holds."""
    move: Annotated[str, _cut(80)] = ""
    """A short name of the kind of change, e.g. ``llm:drop-wrong-answers``."""
    data: DataRecipe
    trials: tuple[TrialPlan, ...] = Field(min_length=1, max_length=MAX_TRIALS)

    @field_validator("trials", mode="before")
    @classmethod
    def _short_labels(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [
            {**item, "label": CONTROL.sub("", item["label"])[:80]}
            if isinstance(item, Mapping) and isinstance(item.get("label"), str)
            else item
            for item in value
        ]


class BadCaseGroup(Record):
    """The bad cases of one cause."""

    cause: ShortText
    """What the model did wrong, and why, with the row ids that show it."""
    kind: CauseKind
    share: float = Field(ge=0, le=1)
    """Share of all evaluated rows, 0 to 1."""


class Lesson(Record):
    """One insight as the model words it."""

    text: ShortText
    nodes: tuple[int, ...] = Field(default=(), max_length=20)
    """The rounds that support it."""
    kind: Annotated[str, _cut(60)] = ""
    """What it is about, in one or two words; of a change that a move of the rules makes, the name of the move. Lessons of
    one kind are held against each other.
    """
    direction: Literal["", "helps", "hurts", "depends", "neutral"] = ""
    """What that does to the score; empty where the lesson is of another sort."""


class DiagnosisAnswer(Record):
    """The reading of a finished round."""

    analysis: LongText
    """What the scores and the bad cases show, held against the noise."""
    groups: tuple[BadCaseGroup, ...] = Field(default=(), max_length=12)
    moved: MiddleText
    """How the groups moved against the parent round."""
    report: LongText
    """What the next design needs to know of this round."""
    insights: tuple[Lesson, ...] = Field(default=(), max_length=6)


class ReviewAnswer(Record):
    """The Reviewer's second opinion, after the rules."""

    analysis: LongText
    reasons: tuple[ShortText, ...] = Field(default=(), max_length=8)
    """Each a sentence that the Researcher can act on; of an accepted plan: remarks."""
    accept: bool

    @model_validator(mode="after")
    def _a_refusal_has_a_reason(self) -> ReviewAnswer:
        if not self.accept and not self.reasons:
            raise ValueError("accept is false: give at least one reason that the Researcher can act on")
        return self


#: In a move ``from-6`` names the node that a rule built upon. The rules read it back; a model's own word is no such name.
_BUILT_UPON = re.compile(r"(?<=[:+])from-(?=\d)")


def to_plan(answer: PlanAnswer) -> RoundPlan:
    """Return the round plan of an answer; its analysis is left in the record of the call."""
    return RoundPlan(
        hypothesis=answer.hypothesis,
        expected_effect=answer.expected_effect,
        move=_BUILT_UPON.sub("of-", answer.move),
        data=answer.data,
        trials=answer.trials,
    )


def brief_text(brief: Brief) -> str:
    """Return a brief as the text that later questions are given."""
    lines = [
        f"Asked: {brief.asked}",
        f"Lacking: {brief.lacking}",
        f"Metric: {brief.metric}",
        f"Data: {brief.data}",
        *(f"{number}. {text}" for number, text in enumerate(brief.priorities, start=1)),
    ]
    return "\n".join(lines)


def direction_text(direction: Direction) -> str:
    """Return a direction as the text that the plan's question is given."""
    avoid = f"\nNot again: {direction.avoid}" if direction.avoid else ""
    return f"{direction.kind}: {direction.direction}{avoid}"


def to_insights(answer: DiagnosisAnswer, node: int, known: Collection[int]) -> list[Insight]:
    """Return the lessons of a round as insights of the tree.

    Nodes that do not exist are left out; a lesson that names none rests on the round itself. The kind is marked as a
    model's, so that it never takes the place of what the rules measured.
    """
    found = []
    for lesson in answer.insights:
        nodes = tuple(sorted({one for one in lesson.nodes if one in known})) or (node,)
        kind = "-".join(lesson.kind.lower().removeprefix("llm:").split())
        found.append(
            Insight(text=lesson.text, nodes=nodes, kind=f"llm:{kind}" if kind else "", direction=lesson.direction)
        )
    return found
