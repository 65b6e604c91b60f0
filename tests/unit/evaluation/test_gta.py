"""Steps of a tool agent are scored as GTA scores them: its rule, said once more here, on the same predictions.

The restatement follows ``gta_bench.py`` (every_with_gt) of open-compass/GTA (10eb3d24) and the agent that feeds it:
lagent's ReAct (507f8889), agentlego's wrapper (03981c50), parser (e1a53a7c) and types (8dd011fa). It counts over all steps at once, as upstream does.
"""

from __future__ import annotations

import json
import random
import re

import pytest

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import judge
from hpc_trex.evaluation.scorers.gta import answered, said
from hpc_trex.evaluation.scoring import _further
from hpc_trex.models import MetricSpec

STEPS = MetricSpec(name="gta_steps")
TOOLS = {
    "OCR": {"image": "image"},
    "Calculator": {"expression": "text"},
    "Plot": {"command": "text", "size": "int", "scale": "float", "grid": "bool"},
}
THERE = ("a.jpg", "b.jpg")
LISTS = {"whitelist": [["42", "forty-two"], ["euro", "EUR"]], "blacklist": [["41"], ["dollar"]]}
NO_BAR = {"whitelist": [["a.b"]], "blacklist": None}


def old_message(text: str) -> dict[str, object]:
    """What the agent makes of a model's text: a message with a call (perhaps an error), or with a final answer."""
    if "Final Answer:" in text:
        return {"role": "assistant", "content": text.rsplit("Final Answer:", maxsplit=1)[-1]}
    names, inputs = re.findall("Action:(.*?)\n", text), re.findall("Action Input:(.*)", text, re.DOTALL)
    if not names or not inputs:
        return {"role": "assistant", "error": 1, "tool_calls": [{"function": {"name": "NoAction", "arguments": {}}}]}
    name, given, wrong = names[-1].strip(), inputs[-1].strip().strip('"'), name_is_wrong(names[-1].strip())
    try:
        arguments = json.loads(next(re.finditer("{.*}", given, re.MULTILINE | re.DOTALL)).group())
    except (StopIteration, ValueError):
        arguments, wrong = {"raw_input": given}, True
    for key, value in arguments.items() if not wrong else ():  # what agentlego's parser raises
        kind = TOOLS[name].get(key)
        try:
            wrong = wrong or kind is None or (kind == "image" and (not isinstance(value, str) or value not in THERE))
            {"int": int, "float": float, "bool": bool}.get(kind, str)(value)
        except (TypeError, ValueError):
            wrong = True
    call = {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}
    return call | ({"error": 1} if wrong else {})


def name_is_wrong(name: str) -> bool:
    return name not in TOOLS


def old_correct(pred: str, ref: dict[str, list[list[str]] | None]) -> bool:
    count = 0
    for aliases in ref["whitelist"]:
        if re.search(r"\b(?:" + "|".join(re.escape(alias) for alias in aliases) + r")\b", pred, re.IGNORECASE):
            count += 1
    if count < len(ref["whitelist"]):
        return False
    if not ref["blacklist"]:
        return True
    barred = "|".join(re.escape(alias) for aliases in ref["blacklist"] for alias in aliases)
    return not re.search(rf"\b(?:{barred})\b", pred, re.IGNORECASE)


def old_scores(steps: list[tuple[str, str, dict | None]]) -> dict[str, float]:
    """Upstream's four accuracies of steps (text, true text, gt_answer); every answer here has a reference."""
    sums = dict.fromkeys(("inst", "tool", "arg", "answer"), 0)
    calls = answers = 0
    for text, gold, ref in steps:
        pred, true = old_message(text), old_message(gold)
        kinds = ["tool" if "tool_calls" in one else "answer" for one in (pred, true)]
        calls, answers = calls + (kinds[1] == "tool"), answers + (kinds[1] == "answer")
        sums["inst"] += kinds[0] == kinds[1] and "error" not in pred
        if kinds == ["tool", "tool"]:
            one, other = (message["tool_calls"][0]["function"] for message in (pred, true))
            sums["tool"] += one["name"] == other["name"]
            sums["arg"] += one == other
        elif kinds == ["answer", "answer"]:
            sums["answer"] += old_correct(pred["content"], ref)
    totals = {"inst": calls + answers, "tool": calls, "arg": calls, "answer": answers}
    return {name: sums[name] / totals[name] for name in sums}


TEXTS = (
    'Thought: read it\nAction: OCR\nAction Input: {"image": "a.jpg"}',
    'Action: OCR\nAction Input: {"image": "b.jpg"}',
    'Action: OCR \nAction Input: "{"image": "a.jpg"}"',
    'Action: OCR\nAction Input: {"image": "a.jpg", "more": 1}',
    "Action: OCR\nAction Input: a.jpg",
    'Action: OCR\nAction Input: {"image": "a.jpg"',
    'Action: OCR Action Input: {"image": "a.jpg"}',
    'Action: Nothing\nAction Input: {"image": "a.jpg"}',
    'Action: Plot\nAction Input: ```json\n{"command": "x = 1\\ny = 2"}\n```',
    'Action: Plot\nAction Input: {"size": 3}',
    'Action: Plot\nAction Input: {"size": "3", "scale": "1e2", "grid": "no", "command": 7}',
    'Action: Plot\nAction Input: {"size": "three"}',
    'Action: Plot\nAction Input: {"scale": null}',
    'Action: Plot\nAction Input: {"scale": [1]}',
    "Action: OCR\nAction Input: {}",
    'Action: OCR\nAction Input: {"image": "c.jpg"}',
    'Action: OCR\nAction Input: {"image": ["a.jpg"]}',
    'Action: Calculator\nAction Input: {"expression": "6 * 7"}\nAction: OCR\nAction Input: {"image": "a.jpg"}',
    'Action: Calculator\nAction Input: {"expression": "6 * 7"}\nResponse: 42\nFinal Answer: 42 euro',
    "Thought: done\nFinal Answer: It is 42 EUR.",
    "Final Answer: 420 euro",
    "Final Answer: forty-two Euro, not 41",
    "Final Answer: I think 7. Final Answer: 42 euros",
    "Final Answer:",
    "It is 42 euro.",
    "42 欧元",
    "Final Answer: 42 欧元 euro",
    "Action:",
    "",
)


@pytest.mark.parametrize("seed", range(5))
def test_the_four_accuracies_are_those_of_upstream(seed):
    draw = random.Random(seed)
    golds = [text for text in TEXTS if "error" not in old_message(text) and text.count("Action:") < 2]
    steps = [(draw.choice(TEXTS), draw.choice(golds), LISTS) for _ in range(400)]
    row = {"tools": TOOLS, "gt_answer": LISTS, "unseen": 0, "paths": THERE}
    found = _further([judge(text, gold, STEPS, row) for text, gold, _ in steps])
    wanted = old_scores(steps)
    assert found == pytest.approx(
        {"inst_acc": wanted["inst"], "tool_acc": wanted["tool"], "arg_acc": wanted["arg"], "summ_acc": wanted["answer"]}
    )
    assert 0 < min(wanted.values()) < max(wanted.values()) < 1


@pytest.mark.parametrize("ref", [LISTS, NO_BAR, {"whitelist": [["42"]], "blacklist": []}])
@pytest.mark.parametrize(
    "text", ["a.b", "aXb", "42 EURO", "42 euro and 41", "42 dollars, euro", "forty-two euro", "", "142 euro"]
)
def test_lists_of_aliases_are_looked_for_as_upstream_does(text, ref):
    assert answered(text, ref) == old_correct(text, ref)


def test_open_answers_have_the_best_of_their_references():
    assert answered("Two boats at dusk", ["An evening", "Two boats at dusk"]) == 1
    near, far = (answered(text, ["Two boats at dusk"]) for text in ("Boats at dusk", "Balance sheet"))
    assert 1 > near > 0.5 > far
    assert answered("", ["Two boats"]) == answered("x", []) == 0


def test_the_score_of_a_step_is_the_mean_of_what_it_has_part_in():
    row = {"tools": TOOLS, "gt_answer": LISTS, "unseen": 1, "paths": THERE}
    call = judge('Action: OCR\nAction Input: {"image": "b.jpg"}', TEXTS[0], STEPS, row)
    assert (call.score, call.flags) == (pytest.approx(2 / 3), ("image_unseen",))
    assert judge("Final Answer: 41", "Final Answer: x", STEPS, row).score == 0.5
    assert judge("Final Answer: 41", "Final Answer: x", STEPS, row | {"gt_answer": None}).score == 1


def test_a_tool_whose_arguments_have_no_names_takes_any():
    row = {"tools": {"OCR": None}, "gt_answer": None, "unseen": 0, "paths": ()}
    assert judge('Action: OCR\nAction Input: {"x": 1}', TEXTS[0], STEPS, row).also[0] == ("inst_acc", 1.0)


def test_a_step_is_shown_on_one_line():
    assert said(TEXTS[0]).shown == 'OCR {"image": "a.jpg"}'
    assert (said(TEXTS[4]).shown, said("words").shown) == ("OCR", "")


@pytest.mark.parametrize(
    ("row", "gold", "words"),
    [
        ({"tools": {}, "paths": ()}, TEXTS[0], "column gt_answer"),
        ({"tools": {}, "paths": (), "gt_answer": None, "unseen": 0}, "words", "no step of GTA"),
    ],
)
def test_rows_that_are_none_are_named(row, gold, words):
    with pytest.raises(UsageProblem, match=words):
        judge("x", gold, STEPS, row)


def test_a_file_that_the_true_step_takes_is_there():
    row = {"tools": TOOLS, "gt_answer": None, "unseen": 0, "paths": ()}
    for name, there in {"a.jpg": 1.0, "b.jpg": 0.0}.items():
        found = judge(f'Action: OCR\nAction Input: {{"image": "{name}"}}', TEXTS[0], STEPS, row)
        assert found.also[0] == ("inst_acc", there)
