"""Answers in a file, scored afterwards: the same score as beside the model, and a file that is not whole is refused."""

import json

import pytest

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.evaluation.later import Said, can_wait, read_answers, score_answers, write_answers
from hpc_trex.evaluation.tasks import EvalRow
from hpc_trex.files import write_record
from hpc_trex.ftbench.frozen import eval_digest
from hpc_trex.models import EvalSettings, JobSpec, MetricSpec, ModelRef, Source, TaskCard
from hpc_trex.samples import read_samples

SAID = [
    Said("dev:0", "<think>\n</think> yes", ("truncated",)),
    Said("dev:1", "Nein, 不\u2028\x85\x0c\r."),
    Said("dev:2", ""),
]


def card(**metric):
    source = Source(path="rows.jsonl")
    return TaskCard(name="t", sources={"s": source}, dev=source, test=source, metric=MetricSpec(**metric))


@pytest.fixture
def spec(tmp_path):
    rows = [
        {"row_id": f"dev:{n}", "prompt": f"p{n}", "answer": "yes", "source": "dev", "row": {"kind": "ab"[n % 2]}}
        for n in range(3)
    ]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_record(tmp_path / "card.json", card(keep=["kind"], groups="kind"))
    return JobSpec(
        kind="score", token="t", search="s", node=0, trial=1, attempt=2, attempt_dir=str(tmp_path),
        task_card=str(tmp_path / "card.json"), eval_rows=str(tmp_path / "dev.jsonl"), cache_dir=str(tmp_path),
        base=ModelRef(name="b", path="b"), evaluate=EvalSettings(bootstrap=200, scoring="own-job"),
    )  # fmt: skip


def test_answers_are_judged_with_their_rows_columns_and_their_flags_are_kept(spec, tmp_path):
    write_answers(tmp_path / "answers.jsonl", list(reversed(SAID)))  # in any order: the rows' ids tell
    found = score_answers(spec, tmp_path / "answers.jsonl", tmp_path / "samples.jsonl")
    assert found.main.value == pytest.approx(1 / 3)
    assert (found.extra["kind=a"], found.extra["kind=b"], found.extra["truncated"]) == (0.5, 0.0, pytest.approx(1 / 3))
    samples = list(read_samples(tmp_path / "samples.jsonl"))
    assert [(row.answer, row.score, row.flags) for row in samples] == [
        (SAID[0].text, 1.0, ("truncated",)),
        (SAID[1].text, 0.0, ()),
        ("", 0.0, ("empty",)),
    ]
    # Where it is scored is not part of the rules.
    assert found.rules == eval_digest(card(keep=["kind"], groups="kind"), EvalSettings(bootstrap=200))


@pytest.mark.parametrize(
    "text", ["", '{"row_id": "dev:0", "text": "a", "flags": []}\n', "[]\n", '{"row_id": "dev:0", "te', None]
)
def test_a_file_without_an_answer_to_each_row_is_refused(spec, tmp_path, text):
    path = tmp_path / "answers.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(EnvironmentProblem, match="does not hold an answer to each row"):
        read_answers(path, [EvalRow(f"dev:{n}", "p", "a", "p") for n in range(3)])


def test_only_answers_that_are_texts_can_wait():
    assert can_wait(card())
    assert not can_wait(card(name="accuracy", mode="choice", choices=("a", "b")))
