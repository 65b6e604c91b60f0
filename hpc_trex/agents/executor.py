"""The Executor's repairs by rule: what may be changed of a failed trial, or of a failed recipe, without asking anybody.

Of a trial only what leaves the experiment the same: how it is computed, not what is. Of a recipe only what its own code
says that it means. Everything else is for the Executor's model (:mod:`hpc_trex.agents.llm.executor`), or a new design.
How often: ``FATES``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hpc_trex.agents.apply import Draft
from hpc_trex.agents.ideas import changes
from hpc_trex.agents.mending import Failed, Repaired
from hpc_trex.models import FATES, DataRecipe, FailureClass, TrainConfig, TrialView
from hpc_trex.models.operators import Python, Step
from hpc_trex.models.repair import How

#: How the messages of two failures of attention begin (training/attention.py, transformers).
NO_FLASH = "attention = flash_attention_2 is not possible"
NO_SDPA = "does not support an attention implementation through torch.nn.functional.scaled_dot_product_attention"
#: What a step of code is told that returns what the other mode takes (data/operators/python.py).
NOT_A_ROW = "the code returned true or false, not a row"
NOT_A_VERDICT = "a filter returns the row, True, False or None, not a list"


def effective(trial: TrialView) -> TrainConfig | None:
    """Return what the next job of a trial is given: its plan, with what repairs set of how it is computed."""
    return trial.effective


def by_rule(failed: Failed, processes: int, *, last: bool = False) -> Repaired | None:
    """Return the change that is certain to be right, None where there is none.

    ``processes``: of the training job. ``last``: no other repair may follow, so this one saves all the memory it can.
    """
    if failed.train is None:
        return _recipe(failed) if failed.failure is FailureClass.DATA else None
    if failed.failure is FailureClass.OOM:
        return _less_memory(failed.train, processes, last=last)
    return _attention(failed.train, failed.message) if failed.failure is FailureClass.CONFIG else None


def _less_memory(train: TrainConfig, processes: int, *, last: bool) -> Repaired | None:
    """Halve the micro-batch; once it is 1, compute activations again in the backward pass. The effective batch stays."""
    now = train.micro_batch_size or max(1, train.batch_size // max(1, processes))
    if now > 1 and last:
        lean: How = {"micro_batch_size": 1}
        if not train.gradient_checkpointing:
            lean["gradient_checkpointing"] = True
        return Repaired(f"out of memory with {now} sequences in a pass; the last try is the leanest", lean)
    if now > 1:
        half = halved(now, train.batch_size, processes)
        return Repaired(f"out of memory with {now} sequences in a pass", {"micro_batch_size": half})
    if not train.gradient_checkpointing:
        return Repaired("out of memory with one sequence in a pass", {"gradient_checkpointing": True})
    return None


def halved(micro: int, batch: int, processes: int) -> int:
    """Return half a micro-batch, rounded down to what divides each process's share of the batch."""
    share = max(1, batch // max(1, processes))
    target = max(1, min(micro, share) // 2)
    return next(size for size in range(target, 0, -1) if share % size == 0)


def _attention(train: TrainConfig, message: str) -> Repaired | None:
    """Take another attention where the wanted one is not there: it computes the same (docs/attention.md)."""
    if train.attention == "flash_attention_2" and message.startswith(NO_FLASH):
        return Repaired("flash-attention is not there", {"attention": "sdpa"})
    if train.attention in ("auto", "sdpa") and NO_SDPA in message:
        return Repaired("this architecture has no sdpa attention", {"attention": "eager"})
    return None


def _recipe(failed: Failed) -> Repaired | None:
    """Give a recipe's only step of code the mode that its answers are of."""
    data = failed.plan.data
    places = [place for place, step in enumerate(data.steps) if isinstance(step, Python)]
    if len(places) != 1:
        return None
    step = data.steps[places[0]]
    assert isinstance(step, Python)
    if step.mode == "map" and NOT_A_ROW in failed.message:
        mode, reason = "filter", "the code answers whether to keep a row"
    elif step.mode == "filter" and NOT_A_VERDICT in failed.message:
        mode, reason = "map", "the code answers with rows"
    else:
        return None
    steps = list(data.steps)
    steps[places[0]] = step.model_copy(update={"mode": mode})
    return Repaired(reason, plan=failed.plan.model_copy(update={"data": replaced(data, steps)}))


def replaced(data: DataRecipe, steps: Sequence[object]) -> DataRecipe:
    """Return a recipe with other steps. Raises ``ValueError`` (pydantic's) for steps that are no recipe."""
    plain = [step.model_dump(mode="json") if hasattr(step, "model_dump") else step for step in steps]
    return DataRecipe.model_validate({"steps": plain, "seed": data.seed})


def may_repair(failure: FailureClass) -> bool:
    """Tell whether anything may be changed after such a failure."""
    return failure is FailureClass.OOM or FATES[failure].repairs > 0


def change_words(failed: Failed, repaired: Repaired) -> str:
    """Return in words what a repair changes; of code only its length and its hash."""
    before = failed.train.model_dump() if failed.train is not None else {}
    said = [f"{name} {before.get(name)} -> {value}" for name, value in repaired.how.items()]
    if repaired.plan is None:
        return "; ".join(said)
    place = max(0, failed.trial - 1)
    drafts = [
        Draft(_code_named(plan.data), plan.trials[place].train, plan.trials[place].mixture)
        for plan in (failed.plan, repaired.plan)
    ]
    return "; ".join([*said, changes(*drafts)])


def _code_named(data: DataRecipe) -> DataRecipe:
    steps: list[Step] = []
    for step in data.steps:
        if isinstance(step, Python):
            name = hashlib.sha256(step.code.encode()).hexdigest()[:8]
            steps.append(step.model_copy(update={"code": f"{len(step.code.splitlines())} lines, {name}"}))
        else:
            steps.append(step)
    return data.model_copy(update={"steps": tuple(steps)})
