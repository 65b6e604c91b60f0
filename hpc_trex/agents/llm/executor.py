"""The Executor with a language model: it is asked for a repair where no rule knows one, and answers with few fields.

The answer is a change of a trial's settings, from a list, or of steps of a recipe; never of anything else, since there
is no field for it. Whether the changed plan may run is decided by the same rules as any plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from hpc_trex.agents.executor import replaced
from hpc_trex.agents.llm.answers import LongText, ShortText
from hpc_trex.agents.llm.asking import Questions
from hpc_trex.agents.llm.errors import LlmBadAnswer
from hpc_trex.agents.llm.facts import operator_part, task_parts, train_json, training_part
from hpc_trex.agents.llm.fence import neutral, one_line, paragraph
from hpc_trex.agents.llm.fit import MUST, ContextTooSmall, Part, estimate_tokens, fit, render
from hpc_trex.agents.llm.inquiry import told
from hpc_trex.agents.llm.prompts import load_prompt
from hpc_trex.agents.llm.rounds import plan_lines
from hpc_trex.agents.mending import Failed, GivesUp, Repaired
from hpc_trex.agents.protocol import NothingToPropose, StillThinking, TreeView
from hpc_trex.models import LlmSettings, RoundPlan, TrainConfig
from hpc_trex.models.base import Record
from hpc_trex.models.llm import EXECUTOR
from hpc_trex.models.operators import Python, Step
from hpc_trex.models.repair import HOW

M = TypeVar("M", bound=BaseModel)

#: A log is left out before anything else is.
LOG_PRIORITY = 10


class TrainChange(Record):
    """Fields of ``train`` that a repair may change; null: as it is."""

    method: Literal["full", "lora"] | None = None
    lora_targets: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=30)
    """Module names, or ``all-linear``."""
    lora_rank: int | None = Field(default=None, ge=1, le=1024)
    batch_size: int | None = Field(default=None, ge=1, le=65536)
    micro_batch_size: int | None = Field(default=None, ge=1)
    max_seq_len: int | None = Field(default=None, ge=8, le=1_048_576)
    packing: bool | None = None
    precision: Literal["auto", "fp32", "bf16"] | None = None
    gradient_checkpointing: bool | None = None
    attention: Literal["auto", "flash_attention_2", "sdpa", "eager"] | None = None


class StepChange(Record):
    """What becomes of one step of the recipe: exactly one of ``drop``, ``code`` and ``replacement``."""

    step: int = Field(ge=1, le=40)
    """Its number in the recipe, from 1."""
    drop: bool = False
    code: str | None = Field(default=None, min_length=1, max_length=20_000)
    """Of a python step: its whole new code."""
    replacement: Step | None = None
    """The step with other parameters."""

    @model_validator(mode="after")
    def _one_of_three(self) -> StepChange:
        if self.drop + (self.code is not None) + (self.replacement is not None) != 1:
            raise ValueError("give exactly one of drop, code and replacement")
        return self


class RepairAnswer(Record):
    """One repair, or none."""

    analysis: LongText
    """What failed, and why."""
    reason: ShortText
    """What is changed and why that mends it; or why nothing would."""
    give_up: bool
    """Nothing that is allowed here would mend it: the Researcher shall design another round."""
    train: TrainChange | None = None
    """Of a trial."""
    steps: tuple[StepChange, ...] = Field(default=(), max_length=8)
    """Of the data recipe."""


class AsksForRepairs:
    """The part of the Researcher ``llm`` that stands behind :meth:`hpc_trex.agents.protocol.Researcher.repair`."""

    settings: LlmSettings
    questions: Questions

    def _answer(
        self, node: int, name: str, role: str, answer: type[M], messages: Callable[[], Sequence[dict[str, Any]]]
    ) -> M:
        raise NotImplementedError

    def repair(self, view: TreeView, failed: Failed) -> Repaired | GivesUp:
        """Return the model's repair; see the protocol. An answer that cannot be used is as good as none."""
        if not self.settings.repair:
            raise NothingToPropose

        def asks() -> list[dict[str, str]]:
            return repair_messages(view, failed, budget=self.settings.context_tokens)

        name = f"repair-{failed.trial}-{failed.number}"
        if self.questions.another(failed.node, "repair-", name):
            raise StillThinking  # one after the other: each counts against the bound of the round, and is paid for
        try:
            answer = self._answer(failed.node, name, EXECUTOR, RepairAnswer, asks)
        except ContextTooSmall as error:  # long code, say: the search goes on without this repair
            return GivesUp(f"the question is too long: {error.message}")
        except LlmBadAnswer as error:
            return GivesUp(f"the model gave no usable answer: {error.message[:600]}", refused=True)
        return applied(failed, answer)


def applied(failed: Failed, answer: RepairAnswer) -> Repaired | GivesUp:
    """Return the plan with the answer's change; where that is none, why: the answer is refused with it."""
    if answer.give_up:
        return GivesUp(answer.reason)
    try:
        change = _with_train(failed, answer) if failed.trial else _with_steps(failed.plan, answer)
    except ValidationError as error:
        return GivesUp(f"refused: {told(error)}", refused=True)
    except ValueError as error:
        return GivesUp(f"refused: {error}", refused=True)
    if not change.how and change.plan in (None, failed.plan):
        return GivesUp("refused: it changes nothing", refused=True)
    return change


def _with_train(failed: Failed, answer: RepairAnswer) -> Repaired:
    """Return a trial's settings changed; those that leave the experiment the same leave its plan as it is.

    Raises ``ValueError`` for what a trial's repair may not touch.
    """
    if answer.steps:
        raise ValueError("the recipe made the data already, and other trials use them: change train only")
    assert failed.train is not None
    given = answer.train.model_dump(exclude_none=True) if answer.train is not None else {}
    now = failed.train.model_dump()
    how = {name: value for name, value in given.items() if name in HOW and value != now[name]}
    trials = list(failed.plan.trials)
    place = failed.trial - 1
    plain = trials[place].train.model_dump()
    for name in ("targets", "rank"):
        if f"lora_{name}" in given:
            plain["lora"][name] = given.pop(f"lora_{name}")
    train = TrainConfig.model_validate(plain | {name: value for name, value in given.items() if name not in HOW})
    TrainConfig.model_validate(train.model_dump() | how)
    trials[place] = trials[place].model_copy(update={"train": train})
    plan = failed.plan.model_copy(update={"trials": tuple(trials)})
    return Repaired(answer.reason, how, plan if train != failed.plan.trials[place].train else None)


def _with_steps(plan: RoundPlan, answer: RepairAnswer) -> Repaired:
    """Return steps of the recipe changed. Raises ``ValueError`` for a step that is not there."""
    if answer.train is not None and answer.train.model_dump(exclude_none=True):
        raise ValueError("no training has begun: change steps only")
    steps: list[Step | None] = list(plan.data.steps)
    for change in answer.steps:
        if change.step > len(steps):
            raise ValueError(f"step {change.step} is not there: the recipe has {len(steps)}")
        old = plan.data.steps[change.step - 1]
        if change.code is not None and not isinstance(old, Python):
            raise ValueError(f"step {change.step} is {old.op}, which has no code")
        code = {"code": change.code}
        new = None if change.drop else change.replacement or old.model_copy(update=code)
        steps[change.step - 1] = new
    data = replaced(plan.data, [step for step in steps if step is not None])
    return Repaired(answer.reason, plan=plan.model_copy(update={"data": data}))


def repair_messages(view: TreeView, failed: Failed, *, budget: int) -> list[dict[str, str]]:
    """Return the question for a repair. Raises :class:`hpc_trex.agents.llm.fit.ContextTooSmall`."""
    what = f"trial {failed.trial}" if failed.trial else "the preparation of its data"
    earlier = [one_line(words, 500) for words in failed.earlier]
    parts = [
        *task_parts(view),
        training_part(view) if failed.trial else operator_part(view),
        Part("The round", "\n".join(_round_lines(failed)), MUST, data=True),
        *([Part("Repairs of this round so far", "\n".join(earlier), MUST, data=True)] if earlier else []),
        *(
            [Part("The end of its output", paragraph(failed.log, 4000), LOG_PRIORITY, "lines", data=True)]
            * bool(failed.log)
        ),
        Part(f"What failed: {what}", f"{failed.failure.value}: {paragraph(failed.message, 4000)}", MUST, data=True),
    ]
    values: dict[str, object] = {"node": failed.node, "what": what, "left": failed.left}
    prompt = load_prompt("executor")
    system = prompt.system()
    room = budget - estimate_tokens(system) - estimate_tokens(prompt.user("repair", context="", **values))
    user = prompt.user("repair", context=render(fit(parts, room)), **values)
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _round_lines(failed: Failed) -> list[str]:
    """Return the round's claim, and of its plan what the question is about: all of it, or the steps with their code."""
    lines = [f"hypothesis: {one_line(failed.plan.hypothesis, 2000)}"]
    if failed.train is not None:
        given = f"the job of trial {failed.trial} was given train = {train_json(failed.train)}"
        return [*lines, *plan_lines(failed.plan), given]
    for number, step in enumerate(failed.plan.data.steps, start=1):
        lines.append(f"step {number}: {step.model_dump_json(exclude={'code'}, exclude_none=True)}")
        if isinstance(step, Python):
            lines += [f"code of step {number}:", neutral(step.code), f"end of the code of step {number}"]
    return lines
