"""A real training job that is scored by choice: score, further accuracies, samples and rules in its result."""

import json

import pytest

from hpc_trex.files import write_record
from hpc_trex.ftbench.frozen import eval_digest
from hpc_trex.models import EvalSettings, MetricSpec, Source, TaskCard
from hpc_trex.samples import read_samples
from tests.jobs import run_job, spec_for

pytestmark = pytest.mark.local


def test_a_training_is_scored_by_the_options_of_each_row(place, base, rows):
    metric = MetricSpec(name="accuracy", mode="choice", choices="options")
    source = Source(path="rows.jsonl")
    card = TaskCard(name="last-word", sources={"s": source}, dev=source, test=source, metric=metric)
    words = ["red", "green", "blue", "black", "white", "small"]
    lines = []
    for number in range(30):
        picked = [words[number % 6], words[(number + 2) % 6], words[(number + 3) % 6]]
        prompt = f"last word of: {' '.join(picked)}\nanswer:"
        lines.append({"row_id": f"dev:{number}", "prompt": prompt, "answer": picked[-1], "choices": picked})
    folder = place / "by-choice"
    spec = spec_for(
        folder,
        place / "cache",
        base=base,
        data_dir=rows,
        eval_rows=str(folder / "dev.jsonl"),
        train={"method": "full", "learning_rate": 3e-3, "batch_size": 16, "max_steps": 60, "max_seq_len": 64},
    )
    (folder / "dev.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_record(folder / "card.json", card)
    result, output = run_job(spec, seconds=600)
    assert result.state == "succeeded", output
    main = result.scores["main"]
    written = list(read_samples(folder / "samples.jsonl"))
    assert main.metric == "accuracy"
    assert main.n == len(written) == 30
    assert main.value == sum(row.score for row in written) / 30
    assert all(row.answer in row.prompt for row in written)
    assert "accuracy_norm" in result.extra_scores
    assert result.eval_digest == eval_digest(card, EvalSettings())
