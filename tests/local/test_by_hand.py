"""``train``, ``evaluate``, ``export`` and ``reproduce``: real jobs, without and after a search."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import tomli_w

from hpc_trex.files import read_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import (
    DataRecipe,
    EvalSettings,
    JobKind,
    JobResult,
    JobSpec,
    NodeState,
    Profile,
    RoundPlan,
    SearchConfig,
    TrialPlan,
    TrialState,
)
from hpc_trex.models.operators import Load
from hpc_trex.tree import events as ev
from hpc_trex.tree.store import Store
from tests.program import start, trex, wait_until

pytestmark = pytest.mark.local
PATIENCE = 400.0


CARD = """name = "own"
licence = "CC0-1.0"
metric = { name = "exact_match", max_new_tokens = 8 }
sources.train = { generator = "triage", part = "curated", rows = 300 }
dev = { generator = "triage", part = "dev", rows = 60 }
test = { generator = "triage", part = "test", rows = 60 }
"""
SPEC = """model = "{base}"
task = "own task/card.toml"
out = "mine"
seed = 3

[train]
method = "lora"
learning_rate = 1e-3
max_seq_len = 128
epochs = 20
max_steps = 200

[evaluate]
bootstrap = 200
"""


class ByHand(NamedTuple):
    """A training by hand: its spec, beside the task that it names, and what the interrupted and the whole run said."""

    spec: Path
    interrupted: str
    result: JobResult

    @property
    def out(self) -> Path:
        return self.spec.parent / "mine"


def steps_told(log: Path) -> int:
    """The last step that the training has told of; it tells of one a second, whichever that is."""
    told = re.findall(r"training (\d+)/", log.read_text())
    return int(told[-1]) if told else 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> ByHand:
    """Interrupted by Ctrl-C after some steps, and resumed to its end."""
    folder = tmp_path_factory.mktemp("by hand")
    (folder / "own task").mkdir()
    (folder / "own task" / "card.toml").write_text(CARD)
    spec, log = folder / "mine.toml", folder / "log"
    spec.write_text(SPEC.format(base=base_model))
    process = start("train", spec, log=log)
    wait_until(lambda: steps_told(log) >= 5, seconds=PATIENCE, what=f"some steps; see {log}")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 130, log.read_text()
    assert "holds a training already" in trex("train", spec, code=2).stderr
    result = json.loads(trex("train", spec, "--resume", "--json").stdout)["result"]
    return ByHand(spec, log.read_text(), JobResult.model_validate(result))


def test_a_training_by_hand_that_is_interrupted_goes_on_and_its_adapter_is_evaluated(
    base_model: Path, trained: ByHand
) -> None:
    """Ctrl-C leaves a checkpoint and exit code 130; --resume goes on from it; evaluate finds the score again."""
    spec, result = trained.spec, trained.result
    assert f"hpc-trex train '{spec}' --resume" in trained.interrupted  # its folder has a space in its name
    assert result.state == "succeeded"
    assert result.resumed_from_step >= 5
    assert result.steps == 200
    assert result.padding_share is not None
    assert 0 <= result.padding_share < 1
    again = trex("train", spec, "--resume")  # it is over: told again, not done again
    assert "model " in again.stdout
    assert len(list((trained.out / "train").iterdir())) == 2
    assert result.model is not None
    other = spec.with_name("other.toml")
    other.write_text(
        f'model = "{base_model}"\nadapter = "{result.model.adapter}"\ntask = "own task/card.toml"\nout = "looked at"\n'
    )
    scored = json.loads(trex("evaluate", other, "--json").stdout)["result"]["scores"]["main"]
    assert scored["value"] == pytest.approx(result.scores["main"].value, abs=0.02)


def test_a_job_that_fails_says_why_and_exits_with_1(trained: ByHand) -> None:
    """Also: a prepared set is trained on as it is, without a task."""
    wrong = trained.spec.with_name("wrong.toml")
    text = (
        trained.spec.read_text().replace('task = "own task/card.toml"', 'data = "mine/data"').replace('mine"', 'wrong"')
    )
    wrong.write_text(text + '\n[train.lora]\ntargets = ["nowhere"]\n')
    done = trex("train", wrong, code=1)
    assert "LoRA target nowhere does not exist in this model" in done.stderr
    assert not (wrong.parent / "wrong" / "prepare").exists()


GREEDY = """
import json, sys
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
for place in range(1, len(sys.argv), 2):
    model = AutoModelForCausalLM.from_pretrained(sys.argv[place])
    if sys.argv[place + 1] != "-":
        model = PeftModel.from_pretrained(model, sys.argv[place + 1])
    answers = []
    for prompt in ("first word of: red old cold\\nanswer:", "first word of: green new big\\nanswer:", "hello"):
        given = tokenizer(prompt, return_tensors="pt")
        ids = model.generate(input_ids=given.input_ids, attention_mask=given.attention_mask, max_new_tokens=8, do_sample=False)
        answers.append(ids[0].tolist())
    print("answers", json.dumps(answers))
"""


def greedy(*models: tuple[object, object]) -> list[list[list[int]]]:
    """The greedy answers of models, each with its adapter or ``-``, in plain transformers, in a process that knows nothing of us."""
    command = [sys.executable, "-c", GREEDY, *(str(word) for pair in models for word in pair)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("answers ") for line in done.stdout.splitlines() if line.startswith("answers ")]
    return [list(json.loads(line)) for line in lines]


def as_search(folder: Path, hand: Path, result: JobResult, config: SearchConfig) -> None:
    """Record a training by hand as the first round of a search that was moved here since, as the controller would have."""
    paths = SearchPaths(folder)
    folder.mkdir()
    assert result.model is not None
    model = paths.attempt(1, 1, 1).model
    shutil.copytree(str(result.model.adapter), model)
    then = f"/elsewhere/{model.relative_to(folder.parent)}"
    result = result.model_copy(update={"model": result.model.model_copy(update={"adapter": then})})
    shutil.copytree(hand / "task", paths.card.parent)
    shutil.copytree(hand / "data", paths.data(1))
    paths.config.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    spec = read_record(hand / "train" / "1" / "spec.json", JobSpec)
    assert spec is not None
    assert spec.train is not None
    trial = TrialPlan(train=spec.train)
    recipe = DataRecipe(steps=(Load(source="train"),), seed=3)
    plan = RoundPlan(hypothesis="adapters are enough", data=recipe, trials=(trial,))
    score = result.scores["main"].value
    made = ev.SearchCreated(config=config, task_digest="t" * 64, base_digest="b" * 64, higher_is_better=True)
    with Store.create(paths, made) as store:
        store.record(ev.NodeAdded(node=0, parent=None, plan=None, recipe_digest="", data_from=None))
        store.record(ev.NodeEnded(node=0, state=NodeState.DONE, score=0.0, best_trial=1))
        store.record(ev.NodeAdded(node=1, parent=0, plan=plan, recipe_digest="r", data_from=1))
        store.record(ev.TrialAdded(node=1, trial=1, kind=JobKind.TRAIN, plan=trial, seed=3, identity="i"))
        job = {"node": 1, "trial": 1, "attempt": 1, "kind": JobKind.TRAIN, "token": "a", "directory": "nodes/1"}
        # As after an OOM: the micro-batch that the search found to fit (here the whole batch).
        store.record(ev.AttemptIntended.model_validate(job | {"micro_batch_size": 16}))
        store.record(ev.AttemptEnded(token="a", succeeded=True, result=result))
        store.record(ev.TrialEnded(node=1, trial=1, state=TrialState.DONE, score=score, result=result))
        store.record(ev.NodeEnded(node=1, state=NodeState.DONE, score=score, best_trial=1))


def test_an_export_answers_as_the_trained_adapter_does_and_a_round_reproduces(
    tmp_path: Path, home: Path, trained: ByHand, base_model: Path
) -> None:
    result = trained.result
    assert result.model is not None
    settings = EvalSettings(bootstrap=200)
    config = SearchConfig(
        name="own",
        task="t",
        model=str(base_model),
        model_path=str(base_model),
        profile=Profile(name="local"),
        evaluate=settings,
    )
    search = tmp_path / "own"
    as_search(search, trained.out, result, config)
    merged, bare = tmp_path / "merged", tmp_path / "adapter"
    trex("export", search, 1, "--merge", "--to", merged)
    told = json.loads(trex("export", search, "--to", bare, "--json").stdout)
    assert (told["node"], told["trial"]) == (1, 1)
    adapter = result.model.adapter
    whole, own, copied, before = greedy((merged, "-"), (base_model, adapter), (base_model, bare), (base_model, "-"))
    assert whole == own == copied
    assert whole != before
    card = (merged / "README.md").read_text()
    assert 'library_name: "transformers"' in card
    assert 'library_name: "peft"' in (bare / "README.md").read_text()
    assert f"| dev | exact_match | {result.scores['main'].value:.4f} |" in card
    assert 'license: "CC0-1.0"' in card
    assert "adapters are enough" in card
    assert json.loads((merged / "data-manifest.json").read_text())["rows"] == 300
    assert json.loads((merged / "plan.json").read_text())["train"]["method"] == "lora"
    assert "exists already" in trex("export", search, 1, "--merge", "--to", merged, code=2).stderr
    assert "baseline" in trex("export", search, 0, "--to", tmp_path / "none", code=2).stderr
    again = json.loads(trex("reproduce", search, 1, "--to", tmp_path / "again", "--json").stdout)
    assert again["inside"]
    # One process on a CPU: bit by bit, the interruption included.
    assert again["now"]["value"] == again["then"]["value"]
    repeated = read_record(tmp_path / "again" / "train" / "1" / "spec.json", JobSpec)
    assert repeated is not None
    assert repeated.train is not None
    assert repeated.train.micro_batch_size == 16
