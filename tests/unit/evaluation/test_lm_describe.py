"""Definitions of lm-eval: what is followed and what is refused; and how one is written, hashed and read."""

import pytest

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.lm_definition import definition_digest, read_definition, resolved, write_definition
from hpc_trex.evaluation.lm_describe import FUNCTION, Unusable, _check, _means, hub_data
from hpc_trex.evaluation.lm_render import _cut
from hpc_trex.ftbench.frozen import greedy

GOOD = {"task": "t", "output_type": "multiple_choice", "test_split": "test"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"class": f"{FUNCTION}/x|task.Squad"}, "Python class"),
        ({"output_type": "loglikelihood_rolling"}, "type loglikelihood_rolling"),
        ({"doc_to_image": "image"}, "shows images"),
        ({"doc_to_audio": "sound"}, "plays sounds"),
        ({"unsafe_code": True}, "runs code that the model writes"),
        ({"custom_dataset": f"{FUNCTION}/x|utils.make"}, "makes its data itself"),
        ({"repeats": 4}, "asks each question 4 times"),
        ({"metric_list": [{"metric": "rouge", "hf_evaluate": True, "aggregation": "mean"}]}, "downloaded when it runs"),
        ({"metric_list": [{"metric": "bleu", "aggregation": "bleu"}]}, "no metric that is a mean over rows"),
        ({"test_split": None}, "neither a test nor a validation split"),
    ],
)
def test_what_is_not_followed_is_refused_with_the_reason(changes, words):
    _check(GOOD)
    with pytest.raises(Unusable, match=words):
        _check(GOOD | changes)


def test_metrics_that_are_means_are_found_by_name_whether_it_is_said_or_not():
    listed = [
        {"metric": "acc"},
        {"metric": "f1", "aggregation": "f1"},
        {"metric": f"{FUNCTION}/x|utils.hit", "aggregation": "mean"},
        {"metric": "mcc"},
    ]
    assert _means({"metric_list": listed}) == ["acc", "hit"]
    assert _means({"output_type": "multiple_choice"}) == ["acc", "acc_norm"]
    assert _means({"output_type": "generate_until"}) == ["exact_match"]


def test_only_a_data_set_of_the_hub_is_to_be_fetched(tmp_path):
    assert hub_data({"dataset_path": "allenai/sciq"}) == ("allenai/sciq", "")
    pinned = {"dataset_path": "allenai/sciq", "dataset_kwargs": {"revision": "a" * 40}}
    assert hub_data(pinned) == ("allenai/sciq", "a" * 40)
    assert hub_data({"dataset_path": "json", "dataset_kwargs": {"data_files": "x.jsonl"}}) is None
    assert hub_data({"dataset_path": str(tmp_path)}) is None


@pytest.fixture
def staged(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "utils.py").write_text("from math import floor\ndef double(doc):\n    return doc['n'] * 2\n")
    configs = [
        GOOD | {
            "doc_to_text": f"{FUNCTION}{source}|utils.double",
            "metric_list": [{"metric": f"{FUNCTION}{source}|math.floor"}],
            "dataset_path": "json",
            "folder": str(source),
        }
    ]  # fmt: skip
    write_definition(configs, "0.4.13", tmp_path / "lm-eval")
    return tmp_path / "lm-eval", configs


def test_a_definition_travels_with_its_functions(staged, tmp_path):
    folder, _ = staged
    moved = folder.rename(tmp_path / "elsewhere")
    (tmp_path / "source" / "utils.py").write_text("raise SystemExit('the copy is used, not the original')\n")
    task = read_definition(moved, definition_digest(moved))["t"]
    assert task["doc_to_text"]({"n": 4}) == 8
    assert task["metric_list"][0]["metric"](2.5) == 2
    assert not {"dataset_path", "folder"} & task.keys()
    assert str(tmp_path) not in (moved / "definition.json").read_text()


def test_functions_are_found_beside_the_definition_before_it_is_staged(staged):
    _, configs = staged
    assert resolved(configs[0])["doc_to_text"]({"n": 5}) == 10


def test_any_change_of_a_definition_is_seen(staged):
    folder, _ = staged
    digest = definition_digest(folder)
    code = folder / "code" / "0" / "utils.py"
    code.write_text(code.read_text() + "\n")
    assert definition_digest(folder) != digest
    with pytest.raises(UsageProblem, match="SHA-256 differs"):
        read_definition(folder, digest)
    (folder / "definition.json").unlink()
    with pytest.raises(UsageProblem, match="is missing"):
        read_definition(folder, digest)


def test_sampling_of_a_definition_is_made_greedy():
    made = greedy({"do_sample": True, "temperature": 0.8, "until": "###", "max_gen_toks": 32})
    assert (made["do_sample"], made["temperature"], made["until"], made["max_gen_toks"]) == (False, 0.0, ["###"], 32)
    assert greedy({})["until"] == ["\n\n"]


def test_one_evaluation_split_is_cut_by_the_prompt_alone():
    cut = [_cut(f"question {i}") for i in range(600)]
    assert cut == [_cut(f"question {i}") for i in range(600)]
    assert 150 < cut.count("dev") < 250
