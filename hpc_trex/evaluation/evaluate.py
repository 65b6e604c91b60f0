"""Evaluate the model in memory on the rows of one split, through lm-eval, and keep every answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.evaluation.choice import compile_choice, continuations
from hpc_trex.evaluation.generation import check_room, hold_model
from hpc_trex.evaluation.intervals import difference_interval, score_interval
from hpc_trex.evaluation.lm_tasks import score_rows
from hpc_trex.evaluation.metrics import FLAGS, AnswerSet, Judged, aggregate
from hpc_trex.evaluation.tasks import Answered, EvalRow, compile_task, read_rows
from hpc_trex.files import read_record
from hpc_trex.ftbench.frozen import eval_digest
from hpc_trex.models import EvalSettings, Heartbeat, JobSpec, Score, TaskCard
from hpc_trex.samples import EvaluatedRow, write_samples

Beat = Callable[[Heartbeat], None]


class Evaluation(NamedTuple):
    """The outcome of one model on one split."""

    main: Score
    extra: dict[str, float]
    """The rate of each flag of :data:`FLAGS`, further metrics, and ``eval_seconds``."""
    answers: AnswerSet
    """Row by row, for a paired comparison."""
    row_ids: list[str]
    rules: str
    """:func:`hpc_trex.ftbench.frozen.eval_digest` of the card and settings that were used."""

    @property
    def per_sample(self) -> list[float]:
        return list(self.answers.scores)


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
) -> Evaluation:
    """Answer every row greedily, score the answers by the task card's metric and write ``samples_path``.

    ``style`` (``plain`` or ``chat``) must be the one that the training used; default: :func:`prompt_style`. It runs on
    one process: in a distributed job call it on rank 0 only, with the bare model. The model's mode (training or not) is
    the same afterwards. ``hold`` makes another back end than the model in memory (:func:`vllm_model.hold_vllm`);
    ``model`` is None then. Raises ``TrexError`` for a card or rows that cannot be used.
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
        else:
            answered = _answers(held, card, rows, style)
        samples = _samples(rows, answered, held, card, style)
    finally:
        if model is not None:
            model.train(was_training)
    evaluation = _score(card, samples, [one.judged for one in answered], spec.evaluate)
    write_samples(samples_path, samples)
    evaluation.extra["eval_seconds"] = time.monotonic() - began
    return evaluation


def paired_difference(base: Evaluation, chosen: Evaluation, settings: EvalSettings) -> Score:
    """Return ``chosen`` minus ``base`` with its paired bootstrap interval. Raises ``ValueError`` for other rows."""
    if base.row_ids != chosen.row_ids:
        raise ValueError("a paired difference needs the same rows in the same order")
    return difference_interval(base.answers, chosen.answers, settings, higher_is_better=chosen.main.higher_is_better)


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


def _answers(held: Any, card: TaskCard, rows: list[EvalRow], style: str) -> list[Answered]:
    """Return what came of each row, in the rows' order, from lm-eval's evaluator."""
    from lm_eval.evaluator import evaluate as run

    judged: dict[int, Judged] = {}
    if card.metric.mode == "choice":
        task = compile_choice(card, rows, style, judged)
    else:
        task = compile_task(card, rows, judged)
    result = run(held, {"tasks": {card.name: task}, "groups": {}}, bootstrap_iters=0, log_samples=True)
    if card.metric.mode == "choice":
        return [Answered(judged[index].answer, judged[index]) for index in range(len(rows))]
    texts = {sample["doc_id"]: sample["filtered_resps"][0] for sample in result["samples"][card.name]}
    return [Answered(texts[index], judged[index]) for index in range(len(rows))]


def _samples(
    rows: list[EvalRow], answered: list[Answered], held: Any, card: TaskCard, style: str
) -> list[EvaluatedRow]:
    """Return what ``samples.jsonl`` keeps: the answers with their flags, those of how the answer ended included."""
    samples = []
    for row, (text, judged) in zip(rows, answered, strict=True):
        found = set(judged.flags)
        if card.metric.mode == "choice":
            # The last token of an option is predicted, never read.
            room = max([held.length_of(option) for option in continuations(row, style)], default=1) - 1
        else:
            room = card.metric.max_new_tokens
            if held.was_truncated(row.text):
                found.add("truncated")
        if held.was_cut(row.text, room):
            found.add("prompt_cut")
        flags = tuple(flag for flag in FLAGS if flag in found)
        samples.append(EvaluatedRow(row.row_id, row.prompt, text, row.answer, judged.score, flags))
    return samples


def _score(card: TaskCard, samples: list[EvaluatedRow], judgements: list[Judged], settings: EvalSettings) -> Evaluation:
    """Bring the judged answers together: the main score, the rate of each flag, further metrics."""
    spec = card.metric
    answers = AnswerSet(
        metric=spec.shown,
        labels=spec.labels,
        scores=[judged.score for judged in judgements],
        references=[judged.wanted for judged in judgements],
        predictions=[judged.answer for judged in judgements],
        counts=[judged.counts for judged in judgements],
    )
    extra = {flag: sum(flag in sample.flags for sample in samples) / len(samples) for flag in FLAGS}
    for position, (name, _) in enumerate(judgements[0].also):
        extra[name] = sum(judged.also[position][1] for judged in judgements) / len(judgements)
    if spec.name in ("accuracy", "accuracy_norm") and spec.labels:
        extra["macro_f1"] = float(aggregate(answers._replace(metric="macro_f1"))[0])
    main = score_interval(answers, settings, higher_is_better=spec.higher_is_better)
    return Evaluation(main, extra, answers, [sample.row_id for sample in samples], eval_digest(card, settings))
