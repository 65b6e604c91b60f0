"""``lm-eval:NAME``: staged from own definitions and from a built-in one, and scored as lm-eval itself scores.

The hub is a real HTTP server on loopback; only the real hub's bytes are missing from the way of a built-in task.
"""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.evaluation.evaluate import evaluate
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.lm_eval import parse_target, staged_cards
from hpc_trex.ftbench.materialise import materialise
from hpc_trex.layout import SearchPaths
from hpc_trex.samples import read_samples
from hpc_trex.staging.lm_eval import stage_task
from tests.local.evaluation.asking import ask
from tests.program import trex
from tests.unit.staging.hub import FIRST, Hub, Repository

pytestmark = pytest.mark.local

LAST_WORD = """task: lastword
dataset_path: json
dataset_kwargs:
  data_files: {train: train.jsonl, validation: valid.jsonl, test: test.jsonl}
output_type: multiple_choice
training_split: train
validation_split: validation
test_split: test
doc_to_text: "last word of: {{words|join(' ')}}\\nanswer:"
doc_to_choice: "{{options}}"
doc_to_target: gold
metric_list:
  - metric: acc
  - metric: acc_norm
"""
SPELL = """task: spell
dataset_path: json
dataset_kwargs:
  data_files: {test: spell.jsonl}
output_type: generate_until
test_split: test
process_docs: !function utils.process_docs
doc_to_text: "{{question}}"
doc_to_target: "{{wanted}}"
generation_kwargs: {until: ["\\n", "k"], max_gen_toks: 6}
filter_list:
  - name: letters
    filter: [{function: regex, regex_pattern: "([a-z0-9]+)"}, {function: take_first}]
  - name: raw
    filter: [{function: take_first}]
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}
"""
UTILS = """
def process_docs(dataset):
    return dataset.map(lambda doc: {"question": doc["text"] + " answer:"})
"""
WORDS = ["red", "green", "blue", "black", "white", "small", "big", "old", "new", "cold"]
QUESTIONS = [f"{i * 7919 % 1000} and {'x' * (i % 13)} {i}?" for i in range(40)]


def choice_docs(count, seed):
    draw, made = random.Random(seed), {}
    while len(made) < count:
        words = draw.sample(WORDS, 4)
        made[tuple(words)] = {"words": words, "options": words[1 + len(made) % 2 :], "gold": 1}
    return list(made.values())


@pytest.fixture(scope="module")
def place(tmp_path_factory, model, tokenizer):
    """A folder of definitions, a stage folder, and both tasks staged; half of the spelled answers are the model's own."""
    folder = tmp_path_factory.mktemp("own definitions")
    (folder / "lastword.yaml").write_text(LAST_WORD)
    (folder / "again.yaml").write_text(LAST_WORD.replace("lastword", "again").replace("last word", "final word"))
    (folder / "both.yaml").write_text("group: both\ntask: [lastword, again]\n")
    (folder / "spell.yaml").write_text(SPELL)
    (folder / "utils.py").write_text(UTILS)
    for number, (name, count) in enumerate((("train", 60), ("valid", 20), ("test", 30))):
        docs = choice_docs(count, number)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    own = [ask(model, tokenizer, f"{text} answer:", 6, ("\n", "k")) for text in QUESTIONS]
    wanted = ["".join(letter for letter in answer if letter.isalnum()) or "none" for answer in own]
    docs = [
        {"text": text, "wanted": answer if i % 2 else "no"}
        for i, (text, answer) in enumerate(zip(QUESTIONS, wanted, strict=True))
    ]
    (folder / "spell.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPC_TREX_STAGE", str(folder / "stage"))
        yield folder


@pytest.fixture(scope="module")
def staged(place):
    made = {}
    for name in ("both", "spell"):
        target = parse_target(f"lm-eval:{place}/{name}")
        made[name] = stage_task(target, place / "stage", say=lambda _: None)
    return made


def measured(model, tokenizer, place, tmp_path, task, split, job):
    """Return our evaluation of one split of a staged task, and its samples."""
    paths = SearchPaths(tmp_path / "search")
    materialise(load_card(f"lm-eval:{place}/{task}"), paths)
    spec, _, samples = job(load_card(f"lm-eval:{place}/{task}").card.metric, [("a", "b")])
    spec = spec.model_copy(update={"task_card": str(paths.card)})
    done = evaluate(model, tokenizer, spec, getattr(paths, split), samples, lambda _: None)
    return done, list(read_samples(samples))


def lm_evals_own(model, tokenizer, place, names, monkeypatch):
    """Return lm-eval's own results and samples of the definitions, as they stand in the folder."""
    from lm_eval.evaluator import evaluate as run
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    monkeypatch.chdir(place)
    tasks = TaskManager(include_path=str(place), include_defaults=False).load(list(names))
    held = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=5, backend="causal")
    return run(held, {"tasks": tasks["tasks"], "groups": {}}, bootstrap_iters=0, log_samples=True)


def test_a_group_of_choices_scores_what_lm_eval_scores(model, tokenizer, place, staged, job, tmp_path, monkeypatch):
    assert staged["both"].rows == {"train": 120, "dev": 40, "test": 60}
    done, rows = measured(model, tokenizer, place, tmp_path, "both", "test", job)
    theirs = lm_evals_own(model, tokenizer, place, ("lastword", "again"), monkeypatch)["results"]
    for metric, ours in (("acc", done.main.value), ("acc_norm", done.extra["acc_norm"])):
        wanted = (theirs["lastword"][f"{metric},none"] + theirs["again"][f"{metric},none"]) / 2
        assert ours == pytest.approx(wanted)
    assert done.main.metric == "acc"
    assert done.main.n == len(rows) == 60
    assert 0 < done.main.low < done.main.value < done.main.high < 1
    assert all(row.answer in row.prompt for row in rows)
    assert {row.score for row in rows} == {float(row.answer == row.reference) for row in rows} == {0.0, 1.0}


def test_answers_are_read_by_the_tasks_own_filter_and_functions(
    model, tokenizer, place, staged, job, tmp_path, monkeypatch
):
    """Its only split is cut: together dev and test hold each document once, with the score that lm-eval gives it."""
    rows, found = staged["spell"].rows, {}
    assert rows["train"] == 0
    assert rows["dev"] + rows["test"] == 40
    card = staged["spell"].card.parent
    own = tmp_path / "with sources"
    copied = own / "card.toml"
    shutil.copytree(card, own)
    copied.chmod(0o644)
    (own / "mine.jsonl").write_text('{"prompt": "1 and 2? answer:", "answer": "12"}\n')
    with pytest.raises(UsageProblem, match=r"no training data: .* no training split"):
        load_card(str(copied))
    text = copied.read_text()
    copied.write_text(text.replace("# [sources.mine]", "[sources.mine]").replace('# path = "mine', 'path = "mine'))
    paths = SearchPaths(tmp_path / "search")
    materialise(load_card(str(copied)), paths)
    spec, _, samples = job(load_card(str(copied)).card.metric, [("a", "b")])
    spec = spec.model_copy(update={"task_card": str(paths.card)})
    for split in (paths.dev, paths.test):
        done = evaluate(model, tokenizer, spec, split, samples, lambda _: None)
        assert done.main.metric == "exact_match"
        found |= {row.prompt: row.score for row in read_samples(samples)}
    theirs = lm_evals_own(model, tokenizer, place, ("spell",), monkeypatch)["samples"]["spell"]
    wanted = {one["doc"]["question"]: float(one["exact_match"]) for one in theirs if one["filter"] == "letters"}
    assert found == wanted
    assert set(found.values()) == {0.0, 1.0}


def test_an_edited_definition_is_refused_by_the_job(model, tokenizer, place, staged, job, tmp_path):
    paths = SearchPaths(tmp_path / "search")
    materialise(load_card(f"lm-eval:{place}/both"), paths)
    definition = paths.card.parent / "lm-eval" / "definition.json"
    definition.write_text(definition.read_text().replace('"acc"', '"exact_match"', 1))
    spec, _, samples = job(load_card(f"lm-eval:{place}/both").card.metric, [("a", "b")])
    spec = spec.model_copy(update={"task_card": str(paths.card)})
    with pytest.raises(UsageProblem, match="not the definition that was staged"):
        evaluate(model, tokenizer, spec, paths.dev, samples, lambda _: None)


def test_the_same_task_staged_again_is_the_same_folder_and_other_rows_are_another(place, staged):
    target = parse_target(f"lm-eval:{place}/spell")
    again = stage_task(target, place / "stage", say=lambda _: None)
    assert (again.card, again.already) == (staged["spell"].card, True)
    rows = place / "spell.jsonl"
    before = rows.read_text()
    rows.write_text(before.replace('"no"', '"never"', 1))
    try:
        other = stage_task(target, place / "stage", say=lambda _: None)
    finally:
        rows.write_text(before)
    assert other.card != staged["spell"].card
    assert staged_cards(target)[0] == other.card
    assert not os.access(other.card, os.X_OK)


def test_a_task_that_is_not_there_or_not_followed_is_refused_with_a_reason(place, staged):
    with pytest.raises(NotFound, match="no task or group 'lastwrod'") as caught:
        stage_task(parse_target(f"lm-eval:{place}/lastwrod"), place / "stage", say=lambda _: None)
    assert "lastword" in caught.value.hint
    with pytest.raises(UsageProblem, match="no metric bleu that is a mean over rows; it has acc, acc_norm"):
        stage_task(parse_target(f"lm-eval:{place}/lastword:bleu"), place / "stage", say=lambda _: None)
    assert not list((place / "stage" / "lm-eval").rglob("*.tmp-*"))


def test_a_built_in_task_from_the_hub_to_a_card(tmp_path, monkeypatch):
    """arc_easy as lm-eval ships it, its data set from a server on loopback, at the commit that the branch has."""

    def docs(split, count):
        letters = ["A", "B", "C"]
        return "".join(
            json.dumps({"id": f"{split}{i}", "question": f"{split} {i}?", "answerKey": letters[i % 3],
                        "choices": {"text": [f"x{i}", f"y{i}", f"z{i}"], "label": letters}}) + "\n"
            for i in range(count)
        )  # fmt: skip

    splits = {"train": 12, "validation": 5, "test": 7}
    files = {f"ARC-Easy/{name}.jsonl": docs(name, count).encode() for name, count in splits.items()}
    listed = "".join(f"  - split: {name}\n    path: ARC-Easy/{name}.jsonl\n" for name in splits)
    files["README.md"] = (
        f"---\nlicense: cc-by-sa-4.0\nconfigs:\n- config_name: ARC-Easy\n  data_files:\n{listed}---\n".encode()
    )
    hub = Hub()
    hub.repositories = {"datasets/allenai/ai2_arc": Repository(files, licence="cc-by-sa-4.0")}
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HPC_TREX_STAGE", str(tmp_path / "stage"))
    done = trex("stage", "--task", "lm-eval:arc_easy:acc_norm", "--json", timeout=600)
    hub.close()
    (made,) = json.loads(done.stdout)["tasks"]
    assert made["rows"] == {"train": 12, "dev": 5, "test": 7}
    card = load_card("lm-eval:arc_easy:acc_norm").card
    assert (card.metric.lm_eval.metric, card.metric.mode, card.licence) == ("acc_norm", "choice", "cc-by-sa-4.0")
    folder = Path(made["card"]).parent
    assert json.loads((folder / "manifest.json").read_text())["data"] == {"allenai/ai2_arc": FIRST}
    row = json.loads((folder / "test.jsonl").read_text().splitlines()[1])
    assert (row["prompt"], row["answer"]) == ("Question: test 1?\nAnswer:", "y1")


def test_a_launch_stages_what_is_missing_and_says_so_where_it_cannot(place, staged, monkeypatch):
    task = f"lm-eval:{place}/lastword:acc_norm"
    assert not staged_cards(parse_target(task))
    done = trex("launch", "--task", task, "--dry-run", timeout=600)
    assert staged_cards(parse_target(task))
    assert "rendering its rows" in done.stderr
    assert f"task       {task}" in done.stdout
    (place / "far.yaml").write_text(LAST_WORD.replace("lastword", "far").replace("path: json", "path: owner/rows"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    absent = trex("launch", "--task", f"lm-eval:{place}/far", "--dry-run", code=8, timeout=600)
    assert "does not answer" in absent.stderr
