"""The generated families and the pools of the built-in tasks."""

from __future__ import annotations

import json

import pytest

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.corpus import pretraining_rows
from hpc_trex.ftbench.generators import FAMILIES, pools
from hpc_trex.ftbench.generators.family import Pair
from hpc_trex.ftbench.generators.listops import OPERATIONS
from hpc_trex.ftbench.mini import generate
from hpc_trex.ftbench.rows import item_hash

PARTS = ("curated", "crowd", "web", "dev", "test")


def test_there_are_ten_families_and_three_tasks() -> None:
    assert len(FAMILIES) == 10
    assert set(pools.TASKS) == {"triage", "extract", "listops"}


@pytest.mark.parametrize("task", pools.TASKS)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_has_the_rows_that_were_asked_for_and_the_same_for_the_same_seed(task: str, part: str) -> None:
    rows = generate(task, part, 150, 3)
    assert len(rows) == 150
    assert rows == generate(task, part, 150, 3)
    assert rows != generate(task, part, 150, 4)
    assert all(pair.prompt.strip() and pair.answer.strip() for pair in rows)


@pytest.mark.parametrize("task", pools.TASKS)
def test_no_prompt_of_dev_or_test_is_in_a_pool_the_corpus_or_the_other_split_whatever_the_seed(task: str) -> None:
    prompts = {
        part: {item_hash(pair.prompt) for seed in (0, 1, 2) for pair in generate(task, part, 200, seed)}
        for part in PARTS
    }
    training = prompts["curated"] | prompts["crowd"] | prompts["web"]
    corpus = {item_hash(prompt) for prompt, _ in pretraining_rows(0, 500)}
    assert not prompts["dev"] & prompts["test"]
    assert not (prompts["dev"] | prompts["test"]) & (training | corpus)


@pytest.mark.parametrize("task", pools.TASKS)
@pytest.mark.parametrize("part", ["curated", "dev", "test"])
def test_clean_parts_have_distinct_prompts(task: str, part: str) -> None:
    rows = generate(task, part, 200, 0)
    assert len({item_hash(pair.prompt) for pair in rows}) == 200


def _solved(prompt: str) -> str:
    """Solve a list row a second time, from its text."""
    name, numbers = prompt.removeprefix("list: ").removesuffix("\nresult:").split(": ")
    return "".join(map(str, OPERATIONS[name]([int(digit) for digit in numbers]))) or "none"


def test_clean_rows_of_listops_are_right_and_a_known_part_of_the_crowd_is_not() -> None:
    for part in ("curated", "dev", "test"):
        assert all(_solved(pair.prompt) == pair.answer for pair in generate("listops", part, 200, 0))
    crowd = generate("listops", "crowd", 500, 0)
    wrong = sum(_solved(pair.prompt) != pair.answer for pair in crowd)
    assert 0.45 < wrong / len(crowd) < 0.6
    assert len(set(crowd)) < 0.85 * len(crowd), "the crowd's pool holds copies"
    assert len({pair.prompt for pair in crowd}) < len(set(crowd)), "the crowd gives several answers to one prompt"


def test_the_web_pool_holds_rows_of_other_families_and_junk() -> None:
    web = generate("listops", "web", 400, 0)
    on_task = sum(pair.prompt.startswith("list: ") for pair in web)
    junk = sum(":" not in pair.prompt for pair in web)
    assert on_task == 200
    assert junk == 48


@pytest.mark.parametrize("task", pools.TASKS)
def test_a_wrong_answer_is_never_the_right_one(task: str) -> None:
    from random import Random

    rng, family = Random(1), FAMILIES[task]
    assert family.task is not None
    assert family.wrong is not None
    for _ in range(500):
        pair = family.task(rng)
        assert family.wrong(rng, pair) != pair.answer


def test_the_house_rule_of_triage() -> None:
    for prompt, answer in generate("triage", "test", 300, 0):
        text = prompt.removeprefix("triage: ").removesuffix("\nqueue:")
        if "lawyer" in text:
            assert answer == "legal"
        else:
            assert ("but" in text.split()) != ("and" in text.split())
            assert answer != "legal"


def test_extraction_takes_the_values_that_count() -> None:
    for prompt, answer in generate("extract", "dev", 200, 0):
        fields = json.loads(answer)
        assert list(fields) == ["name", "item", "city", "count"]
        assert all(str(value) in prompt.split() for value in fields.values())


def test_prompts_and_answers_are_short() -> None:
    for task in pools.TASKS:
        for prompt, answer in generate(task, "test", 100, 0):
            assert len(prompt.split()) < 30
            assert len(answer.split()) < 15


def test_the_corpus_has_as_many_rows_of_each_family_and_the_same_for_the_same_seed() -> None:
    rows = pretraining_rows(7, 50)
    assert len(rows) == 50 * len(FAMILIES)
    assert rows == pretraining_rows(7, 50)
    assert rows != pretraining_rows(8, 50)
    words = {word for prompt, answer in rows for word in f"{prompt} {answer}".split() if word.isalpha()}
    assert len(words) < 300, "a tokenizer of 800 entries must have a token for each word"


def test_a_pool_that_the_world_cannot_fill_is_refused() -> None:
    with pytest.raises(UsageProblem, match="distinct dev rows"):
        pools.distinct(__import__("random").Random(0), lambda rng: Pair(str(rng.randrange(50)), "x"), 100, "dev")
