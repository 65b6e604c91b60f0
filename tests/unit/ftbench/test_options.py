"""Cards in mode choice: their options, list or column, and everything that is refused."""

import json

import pytest

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.materialise import materialise
from hpc_trex.layout import SearchPaths

CARD = """name = "quiz"
licence = "CC0-1.0"
dev = {{ path = "dev.jsonl" }}
test = {{ path = "test.jsonl" }}

[sources.train]
path = "train.jsonl"

[prompt]
prompt = "{{{{ question }}}}"
answer = "{answer}"

[metric]
{metric}
"""


@pytest.fixture
def quiz(tmp_path):
    def make(metric, *rows, answer="{{ options[right] }}"):
        base = [
            {"question": f"q{i}", "options": [f"a{i}", f"b{i}", "c"][: 2 + i % 2], "right": i % 2} for i in range(3)
        ]
        for number, name in enumerate(("train", "dev", "test")):
            made = [{**row, "question": f"{name} {row['question']}"} for row in base]
            made += [{"question": f"{name} more {i}", **row} for i, row in enumerate(rows)] if number == 1 else []
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
        (tmp_path / "card.toml").write_text(CARD.format(metric=metric, answer=answer))
        return tmp_path / "card.toml"

    return make


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_rows_own_options_stand_in_dev_and_test_and_not_in_the_training_rows(quiz, tmp_path):
    card = quiz('name = "accuracy"\nmode = "choice"\nchoices = "options"')
    paths = SearchPaths(tmp_path / "search")
    materialise(load_card(str(card)), paths)
    assert [row["choices"] for row in lines(paths.dev)] == [["a0", "b0"], ["a1", "b1", "c"], ["a2", "b2"]]
    assert [row["answer"] for row in lines(paths.test)] == ["a0", "b1", "a2"]
    assert "choices" not in lines(paths.sources / "train.jsonl")[0]


def test_options_may_be_an_expression_over_the_columns(quiz, tmp_path):
    row = {"options": {"text": ["x", "y"], "label": ["A", "B"]}, "right": 0}
    metric = 'name = "accuracy_norm"\nmode = "choice"\nchoices = "options.text if options is mapping else options"'
    card = quiz(metric, row, answer="{{ (options.text if options is mapping else options)[right] }}")
    paths = SearchPaths(tmp_path / "search")
    materialise(load_card(str(card)), paths)
    assert lines(paths.dev)[-1]["choices"] == ["x", "y"]


def test_a_list_of_options_is_also_the_labels(quiz):
    card = load_card(str(quiz('name = "macro_f1"\nmode = "choice"\nchoices = ["yes", "no"]'))).card
    assert card.metric.labels == card.metric.choices == ("yes", "no")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"options": ["x", "y"], "right": 5}, "template prompt.answer"),
        ({"options": ["x"], "right": 0}, "two different options or more"),
        ({"options": ["x", "x"], "right": 0}, "two different options or more"),
        ({"options": ["x", " "], "right": 0}, "none of them empty"),
        ({"options": "xy", "right": 0}, "not a list of options"),
        ({"options": None, "right": 0}, "template prompt.answer"),
    ],
)
def test_a_row_without_usable_options_is_named_with_its_line(quiz, row, words):
    card = quiz('name = "accuracy"\nmode = "choice"\nchoices = "options"', row)
    with pytest.raises(UsageProblem, match=rf"dev\.jsonl:4: .*{words}"):
        materialise(load_card(str(card)), SearchPaths(card.parent / "search"))


def test_an_answer_that_is_no_option_is_named_with_the_options(quiz):
    card = quiz('name = "accuracy"\nmode = "choice"\nchoices = "options"', answer="{{ right }}")
    with pytest.raises(UsageProblem, match=r"dev\.jsonl:1: the answer '0' is none of the row's options \['a0', 'b0'\]"):
        materialise(load_card(str(card)), SearchPaths(card.parent / "search"))


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ('name = "accuracy"\nmode = "choice"', "needs choices"),
        ('name = "rouge1"\nmode = "choice"\nchoices = "options"', "goes with accuracy"),
        ('name = "macro_f1"\nmode = "choice"\nchoices = "options"', "the same for all rows"),
        ('name = "accuracy"\nmode = "choice"\nchoices = ["a"]', "two different options"),
        ('name = "accuracy"\nmode = "choice"\nchoices = ["a", "a"]', "two different options"),
        ('name = "accuracy"\nmode = "choice"\nchoices = ["a", "b"]\nlabels = ["a", "c"]', "give choices alone"),
        ('name = "accuracy"\nchoices = ["a", "b"]', 'mode = "choice"'),
        ('name = "accuracy_norm"', 'mode = "choice"'),
        ('name = "accuracy"\nmode = "choice"\nchoices = "options["', "metric.choices"),
        ('name = "lm_eval"', "hpc-trex stage"),
    ],
)
def test_a_metric_that_does_not_fit_its_mode_is_refused(quiz, metric, words):
    with pytest.raises(UsageProblem, match=words):
        load_card(str(quiz(metric)))
