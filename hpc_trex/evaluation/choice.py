"""Answers by choice: the option that the model finds likeliest after the prompt, through lm-eval's ``multiple_choice``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpc_trex.data.formatting import answer_text
from hpc_trex.evaluation.metrics import Judged
from hpc_trex.evaluation.tasks import EvalRow, card_task
from hpc_trex.models import MetricSpec, TaskCard

#: One option's log-likelihood, and whether greedy decoding would write it.
Likelihood = tuple[float, bool]


def continuations(row: EvalRow, style: str) -> list[str]:
    """Return the row's options as they follow its prompt: as the training formats answers."""
    return [answer_text(choice, style, row.text) for choice in row.choices]


def compile_choice(card: TaskCard, rows: Sequence[EvalRow], style: str, judged: dict[int, Judged]) -> Any:
    """Return the card as a task of lm-eval of type ``multiple_choice``; ``judged`` is filled when it is run."""

    def score(doc: Mapping[str, Any], results: Sequence[Likelihood]) -> dict[str, float]:
        found = judge_choice(results, doc["choices"], doc["answer"], card.metric)
        judged[doc["index"]] = found
        return {"score": found.score, **dict(found.also)}

    docs = [
        {
            "index": index,
            "text": row.text,
            "answer": row.answer,
            "choices": list(row.choices),
            "continuations": continuations(row, style),
        }
        for index, row in enumerate(rows)
    ]
    return card_task(
        card,
        docs,
        metrics=["score", "accuracy", "accuracy_norm"],
        output_type="multiple_choice",
        target_delimiter="",
        doc_to_choice=lambda doc: doc["continuations"],
        doc_to_target=lambda doc: doc["choices"].index(doc["answer"]),
        process_results=score,
    )


def judge_choice(results: Sequence[Likelihood], choices: Sequence[str], answer: str, spec: MetricSpec) -> Judged:
    """Judge one row: the likeliest option (``accuracy``), and the likeliest by letter (``accuracy_norm``).

    The length is that of the option in characters, as in lm-eval's ``acc_norm``. Of equal ones the first counts.
    """
    sums = [total for total, _ in results]
    means = [total / len(choice) for total, choice in zip(sums, choices, strict=True)]
    likeliest, by_letter = (choices[max(range(len(choices)), key=values.__getitem__)] for values in (sums, means))
    picked = by_letter if spec.name == "accuracy_norm" else likeliest
    both = (("accuracy", float(likeliest == answer)), ("accuracy_norm", float(by_letter == answer)))
    also = tuple(pair for pair in both if pair[0] != spec.name)
    return Judged(float(picked == answer), picked, answer, also=also)
