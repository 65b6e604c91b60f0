"""Two environments: one holds the model and lacks the metric's library, one scores. Real jobs of a real search."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from hpc_trex.evaluation.later import read_answers
from hpc_trex.evaluation.metrics import judge
from hpc_trex.evaluation.tasks import read_rows
from hpc_trex.files import read_record
from hpc_trex.launch import LaunchOptions, create_search, plan_launch
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobResult, MetricSpec
from hpc_trex.samples import read_samples
from hpc_trex.tree.store import Store
from tests.program import trex

CARD = """name = "said"
sources = { train = { path = "train.jsonl" } }
dev = { path = "dev.jsonl" }
test = { path = "test.jsonl" }
[metric]
name = "rouge1"
max_new_tokens = 4
"""


def environments(folder: Path) -> tuple[Path, Path]:
    """Return an interpreter that cannot import rouge-score, and a profile whose jobs use it, but for the scoring."""
    lacking = folder / "lacking" / "rouge_score"
    lacking.mkdir(parents=True)
    (lacking / "__init__.py").write_text("raise ModuleNotFoundError('no rouge_score here', name='rouge_score')\n")
    python = folder / "python-of-the-model"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{lacking.parent}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    profile = folder / "two.toml"
    profile.write_text(
        f'scheduler = "local"\npoll_seconds = 0.3\npython = "{python}"\n'
        f'[score]\npython = "{sys.executable}"\nmem_gb = 1\nminutes = 5\n'
    )
    return python, profile


def task(folder: Path) -> Path:
    folder.mkdir()
    for split in ("train", "dev", "test"):
        rows = [{"prompt": f"{split} {number}: last word of red green blue", "answer": "blue"} for number in range(4)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "card.toml").write_text(CARD)
    return folder / "card.toml"


def test_a_metric_is_scored_where_its_library_is(tmp_path: Path, home: Path, untrained: dict[str, str]) -> None:
    python, profile = environments(tmp_path)
    absent = subprocess.run([python, "-c", "import rouge_score"], capture_output=True, text=True, check=False)
    assert "no rouge_score here" in absent.stderr
    options = {"model": untrained["path"], "name": "two", "profile": str(profile), "max_nodes": 0}
    card = task(tmp_path / "said")
    paths = create_search(plan_launch(LaunchOptions(task=str(card), eval_scoring="own-job", **options)))
    trex("resume", paths.root, timeout=600)
    with Store.read(paths) as store:
        attempts = store.attempts()
        assert [one.kind.value for one in attempts] == ["baseline", "score", "test", "score"]
        baseline, tested = store.trial(0, 1).result, store.test_score()
        places = [AttemptPaths(paths.root / one.directory) for one in attempts]
    assert baseline is not None
    assert baseline.scores["main"].n == 4
    assert baseline.hashes.keys() >= {"base", "rows", "samples"}
    assert tested is not None
    assert tested.scores["difference"].value == 0.0
    # What was scored is what the model said, as the same job would have scored it.
    spec = MetricSpec(name="rouge1", max_new_tokens=4)
    rows = read_rows(paths.dev, str)
    said = read_answers(places[0].root / "answers.jsonl", rows)
    samples = list(read_samples(places[1].samples))
    assert [row.answer for row in samples] == [one.text for one in said]
    assert [row.score for row in samples] == [
        judge(one.text, row.answer, spec).score for one, row in zip(said, rows, strict=True)
    ]
    assert not places[0].samples.exists()
    left = read_record(places[0].result, JobResult)
    assert left is not None
    assert (left.scores, list(left.unscored)) == ({}, ["main"])
    assert "torch" not in (places[1].stdout.read_text() + places[1].stderr.read_text())
