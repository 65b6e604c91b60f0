"""Evaluate the model in memory on the rows of one split, through lm-eval, and keep every answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hpc_trex.evaluation.choice import compile_choice, continuations
from hpc_trex.evaluation.generation import check_room, hold_model
from hpc_trex.evaluation.later import Said, can_wait, write_answers
from hpc_trex.evaluation.lm_tasks import score_rows
from hpc_trex.evaluation.metrics import Judged
from hpc_trex.evaluation.scoring import Evaluation, brought_together, judge_rows, ordered_flags
from hpc_trex.evaluation.tasks import Answered, EvalRow, compile_task, read_rows
from hpc_trex.files import read_record
from hpc_trex.models import Heartbeat, JobSpec, TaskCard
from hpc_trex.samples import EvaluatedRow, write_samples

Beat = Callable[[Heartbeat], None]


def evaluate(
    model: Any,
    tokenizer: Any,
    spec: JobSpec,
    rows_path: Path,
    samples_path: Path,
    beat: Beat,
    *,
    style: str | None = None,
    hold: Callable[..., Any] | None = None,
    later: Path | None = None,
) -> Evaluation | None:
    """Answer every row greedily, score the answers by the task card's metric and write ``samples_path``.

    ``style`` (``plain`` or ``chat``) must be the one that the training used; default: :func:`prompt_style`. It runs on
    one process: in a distributed job call it on rank 0 only, with the bare model. The model's mode (training or not) is
    the same afterwards. ``hold`` makes another back end than the model in memory (:func:`vllm_model.hold_vllm`);
    ``model`` is None then. ``later``: where the answers are texts they are only written there, and None is returned
    (:mod:`hpc_trex.evaluation.later`). Raises ``TrexError`` for a card or rows that cannot be used.
    """
    began = time.monotonic()
    was_training = model is not None and model.training  # lm-eval switches it off
    card = _read_card(spec)
    style = style or prompt_style(spec, tokenizer)
    rows = read_rows(rows_path, _renderer(tokenizer, card, style))
    asked = sum(len(row.choices) for row in rows) or len(rows)
    try:
        held = (hold or partial(hold_model, model, tokenizer))(
            batch_size=min(spec.evaluate.batch_size, asked),
            special_tokens=style == "plain",  # as the training does
            progress=_progress(beat, asked, spec.evaluate.batch_size),
            joined=card.metric.lm_eval is not None,
        )
        if card.metric.mode == "generate":
            check_room(held, card.metric.max_new_tokens)
        if card.metric.lm_eval is not None:
            definition = Path(spec.task_card).parent / "lm-eval"
            answered = score_rows(held, card.metric.lm_eval, definition, rows, style)
        elif card.metric.mode == "choice":
            answered = _chosen(held, card, rows, style)
        else:
            texts = _written(held, card, rows)
        ends = _ends(rows, held, card, style)
    finally:
        if model is not None:
            model.train(was_training)
    if can_wait(card):
        if later is not None:
            write_answers(
                later, [Said(row.row_id, text, end) for row, text, end in zip(rows, texts, ends, strict=True)]
            )
            return None
        answered = [Answered(*pair) for pair in zip(texts, judge_rows(rows, texts, card.metric), strict=True)]
    judged = [one.judged for one in answered]
    flags = [ordered_flags((*one.flags, *end)) for one, end in zip(judged, ends, strict=True)]
    evaluation = brought_together(card, spec.evaluate, rows, judged, flags)
    write_samples(samples_path, map(_sample, rows, answered, flags))
    evaluation.extra["eval_seconds"] = time.monotonic() - began
    return evaluation


def prompt_style(spec: JobSpec, tokenizer: Any) -> str:
    """Return the recipe's ``format`` step's style; without one ``chat`` if the tokenizer has a template."""
    steps = spec.data.steps if spec.data else ()
    given = [step.style for step in steps if step.op == "format"]
    return given[-1] if given else ("chat" if tokenizer.chat_template else "plain")


def _read_card(spec: JobSpec) -> TaskCard:
    card = read_record(Path(spec.task_card), TaskCard)
    if card is None:
        raise FileNotFoundError(f"no valid task card at {spec.task_card}")
    return card


def _renderer(tokenizer: Any, card: TaskCard, style: str) -> Callable[[str], str]:
    from hpc_trex.data.formatting import render_prompt

    return lambda prompt: render_prompt(prompt, style, tokenizer, card.prompt.system)


def _progress(beat: Beat, total: int, batch_size: int) -> Callable[[int], None]:
    """Return what turns finished answers into heartbeats, one a batch."""
    began = time.monotonic()

    def report(done: int) -> None:
        whole = max(total, done)  # a task of lm-eval may ask several things of a row
        if done % batch_size and done < whole:
            return
        seconds = time.monotonic() - began
        eta = seconds / done * (whole - done)
        beat(Heartbeat(phase="evaluating", step=done, total_steps=whole, seconds=seconds, eta_seconds=eta))

    beat(Heartbeat(phase="evaluating", step=0, total_steps=total))
    return report


def _chosen(held: Any, card: TaskCard, rows: list[EvalRow], style: str) -> list[Answered]:
    """Return the option that the model finds likeliest for each row, from lm-eval's evaluator."""
    judged: dict[int, Judged] = {}
    _run(held, card, compile_choice(card, rows, style, judged))
    return [Answered(judged[index].answer, judged[index]) for index in range(len(rows))]


def _written(held: Any, card: TaskCard, rows: list[EvalRow]) -> list[str]:
    """Return what the model writes to each row, from lm-eval's evaluator."""
    result = _run(held, card, compile_task(card, rows))
    said = {sample["doc_id"]: sample["filtered_resps"][0] for sample in result["samples"][card.name]}
    return [said[index] for index in range(len(rows))]


def _run(held: Any, card: TaskCard, task: Any) -> Any:
    from lm_eval.evaluator import evaluate as run

    return run(held, {"tasks": {card.name: task}, "groups": {}}, bootstrap_iters=0, log_samples=True)


def _ends(rows: list[EvalRow], held: Any, card: TaskCard, style: str) -> list[tuple[str, ...]]:
    """Return how each answer came to its end, and whether its prompt was cut."""
    found = []
    for row in rows:
        if card.metric.mode == "choice":
            # The last token of an option is predicted, never read.
            room = max([held.length_of(option) for option in continuations(row, style)], default=1) - 1
            truncated = False
        else:
            room = card.metric.max_new_tokens
            truncated = held.was_truncated(row.text)
        marks = (("truncated", truncated), ("prompt_cut", held.was_cut(row.text, room)))
        found.append(tuple(name for name, holds in marks if holds))
    return found


def _sample(row: EvalRow, answered: Answered, flags: tuple[str, ...]) -> EvaluatedRow:
    return EvaluatedRow(row.row_id, row.prompt, answered.text, row.answer, answered.judged.score, flags)
