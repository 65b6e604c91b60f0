"""The suite ftbench-mini: its ten cards, and the worlds that they are made of, each solved a second time from its text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench import generators, mini
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.corpus import pretraining_rows
from hpc_trex.ftbench.rows import item_hash
from hpc_trex.models.task import CAPABILITIES
from tests.unit.ftbench.test_expected import Ready, expected, judged

PARTS = ("curated", "crowd", "web", "dev", "test")
SEEDS = st.integers(0, 2**32)


def test_each_of_the_ten_capabilities_has_one_task_which_draws_from_a_world_of_its_own() -> None:
    cards = [load_card(name).card for name in mini.SUITE]
    assert [card.name for card in cards] == list(mini.SUITE)
    assert tuple(card.capabilities[0] for card in cards) == CAPABILITIES
    worlds = set()
    for card in cards:
        assert set(card.sources) == {"curated", "crowd", "web"}
        assert (card.dev.rows, card.test.rows) == (200, 400)
        (world,) = {source.generator for source in (*card.sources.values(), card.dev, card.test)}
        worlds.add(world)
        assert all(source.part == name for name, source in card.sources.items())
    assert worlds == set(mini.TASKS)


@pytest.mark.parametrize("name", mini.SUITE)
def test_a_task_folder_is_whole_and_its_sample_answers_are_judged_as_it_says(name: str) -> None:
    loaded = load_card(name)
    folder, card = loaded.origin.parent, loaded.card
    assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {name}\n")
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    samples = [json.loads(line) for line in lines]
    assert [sample["table"] for sample in samples] == [part for part in PARTS if part != "test" for _ in range(3)]
    source = card.dev
    assert source.generator is not None
    assert source.rows is not None
    dev = mini.generate(source.generator, "dev", source.rows, source.seed)
    assert [sample["row"] for sample in samples[-3:]] == [pair._asdict() for pair in dev[:3]], (
        "samples of an older world"
    )
    entries = expected(folder)
    assert {entry["score"] > 0.99 for entry in entries} == {True, False}
    for entry in entries:
        row = Ready(samples[entry["row"]]["row"]["answer"], {}, tuple(card.metric.choices))
        found = judged(card, row, entry["text"])
        assert found.score == pytest.approx(entry["score"], abs=1e-4), entry["why"]
        assert (found.answer, sorted(found.flags)) == (entry["answer"], sorted(entry["flags"])), entry["why"]


def test_no_world_of_the_suite_changes_the_corpus_of_the_base_model() -> None:
    assert not set(mini.WORLDS) & set(generators.FAMILIES)
    assert {name: mini.FAMILIES[name] for name in generators.pools.TASKS}.keys() == {"triage", "extract", "listops"}


# ---- what each prompt asks for, read from the text alone ---------------------------------------------------------------


def _learn(prompt: str) -> str:
    first, second, asked = (part.split(" = ") for part in prompt.split(": ", 1)[1].split(" ; "))
    row = asked[0].removesuffix(" =").split()
    columns = [[text.split().index(word) for word in answer.split()] for text, answer in (first, second)]
    assert columns[0] == columns[1], "the examples show two rules"
    return " ".join(row[column] for column in columns[0])


FOREIGN = dict(
    re.findall(
        r"(\w+)=(\w+)",
        "lamp=mel desk=dosk chair=tur book=libo phone=fano cable=kabo mug=tasa pen=plum red=rosa blue=azu green=vird "
        "black=nero white=alba small=ti big=gro old=vec new=nov",
    )
)


def _translate(prompt: str) -> str:
    way, text = prompt.split(": ", 1)
    words = FOREIGN if way == "translate" else {foreign: english for english, foreign in FOREIGN.items()}
    here, there = ("and", "e") if way == "translate" else ("e", "and")
    phrases = [[words.get(word, word) for word in phrase.split()] for phrase in text.split(f" {here} ")]
    return f" {there} ".join(" ".join(phrase[::-1]) for phrase in phrases)


CALLS = (
    (r"how is the weather in (\w+) on day (\d)", "weather(city={0}, day={1})"),
    (r"what does a (\w+) cost", "price(item={0})"),
    (r"tell (\w+) that the (\w+) is here", "message(to={0}, item={1})"),
    (r"order (\d) (\w+)", "order(item={1}, count={0})"),
)


def _call(text: str) -> str:
    (found,) = [call.format(*match.groups()) for ask, call in CALLS if (match := re.fullmatch(ask, text))]
    return found


def _program(prompt: str) -> str:
    text = prompt.split(": ", 1)[1]
    if text.startswith("twice "):
        return " ; ".join([_call(text.removeprefix("twice "))] * 2)
    for joint in (" then ", " but first ", " no "):
        if joint in text:
            first, second = map(_call, text.split(joint))
            return {" then ": f"{first} ; {second}", " but first ": f"{second} ; {first}", " no ": second}[joint]
    return _call(text)


def _table(prompt: str) -> str:
    *rows, question = (part.split() for part in prompt.split(": ", 1)[1].split(" ; "))
    column, _, key = question
    if column == "rows":
        return str(len([1 for row in rows if key in row]))
    cities, counts = zip(*rows, strict=True)
    often = {city: cities.count(city) for city in cities}
    if (column, key) == ("city", "most"):
        (city,) = [city for city, times in often.items() if times == max(often.values())]
        return str(city)
    return str({"most": max(counts), "least": min(counts), "first": cities[0], "last": counts[-1]}[key])


def _forms(prompt: str) -> str:
    form, who, verb, colour, item = re.fullmatch(r"(\w+): (.*) , (\w+) the (\w+) (\w+)", prompt).groups()  # type: ignore[union-attr]
    thing = f"{colour} {item}"
    return {
        "polite": f"could you please {verb} the {thing} ?",
        "short": f"{verb} the {thing} !",
        "question": f"did {who} {verb} the {thing} ?",
        "letter": f"dear {who} , i want the {thing} . please {verb} it to me .",
        "poem": f"{thing} , {thing} , please {verb} it to {who} and do not be late , my {item} .",
        "advert": f"is the {item} old ? {who} , here is a new {thing} !",
        "story": f"{who} did not {verb} the {thing} . it was late , it was broken , and no {item} is here .",
    }[form]


def _sets(prompt: str) -> str:
    one, joint, other, digits = re.fullmatch(r"list: keep (\w+) (\w+) (\w+): (\d+)", prompt).groups()  # type: ignore[union-attr]
    members = {"even": "02468", "odd": "13579", "low": "01234", "high": "56789"}
    first, second = set(members[one]), set(members[other])
    wanted = {"and": first & second, "or": first | second, "not": first - second}[joint]
    return "".join(digit for digit in digits if digit in wanted) or "none"


def _decide(prompt: str) -> str:
    wanted, left, cost, money = map(int, re.findall(r"\d", prompt))
    if left < wanted:
        return ("tell" if prompt.endswith("late") else "refund") if money < cost else "order"
    return "sell"


SOLVERS: dict[str, Callable[[str], str]] = {
    "icl": _learn,
    "translate-both": _translate,
    "program": _program,
    "analysis": _table,
    "forms": _forms,
    "sets": _sets,
    "decide": _decide,
}


def solved(world: str, prompt: str) -> str:
    return SOLVERS[world](prompt.rsplit("\n", 1)[0])


def test_each_world_is_solved_here() -> None:
    assert set(SOLVERS) == set(mini.WORLDS)


@pytest.mark.parametrize("world", sorted(mini.WORLDS))
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_a_right_answer_is_right_a_wrong_one_is_wrong_and_both_are_short(world: str, seed: int) -> None:
    rng, family = Random(seed), mini.WORLDS[world]
    assert family.task is not None
    assert family.wrong is not None
    for _ in range(20):
        pair = family.task(rng)
        assert solved(world, pair.prompt) == pair.answer
        wrong = family.wrong(rng, pair)
        assert wrong.strip() == wrong
        assert wrong not in ("", pair.answer)
        assert len(pair.prompt.split()) < 35
        assert len(pair.answer.split()) < 25


@pytest.mark.parametrize("world", sorted(mini.WORLDS))
def test_the_parts_hold_what_the_readme_says(world: str) -> None:
    for part in ("curated", "dev", "test"):
        rows = mini.generate(world, part, 200, 0)
        assert len({item_hash(pair.prompt) for pair in rows}) == 200
        assert all(solved(world, pair.prompt) == pair.answer for pair in rows)
    crowd = mini.generate(world, "crowd", 600, 0)
    wrong = sum(solved(world, pair.prompt) != pair.answer for pair in crowd)
    assert 0.45 < wrong / len(crowd) < 0.6
    assert len(set(crowd)) < 0.9 * len(crowd), "the crowd's pool holds copies"
    assert len({pair.prompt for pair in crowd}) < len(set(crowd)), "the crowd gives several answers to one prompt"
    web = mini.generate(world, "web", 400, 0)
    assert sum(":" not in pair.prompt for pair in web) == 48, "12 % of the web's pool is junk"


@pytest.mark.parametrize("world", sorted(mini.WORLDS))
def test_no_prompt_of_dev_or_test_stands_anywhere_else_whatever_the_seed(world: str) -> None:
    prompts = {
        part: {item_hash(pair.prompt) for seed in (0, 1, 2) for pair in mini.generate(world, part, 200, seed)}
        for part in PARTS
    }
    training = prompts["curated"] | prompts["crowd"] | prompts["web"]
    training |= {item_hash(prompt) for prompt, _ in pretraining_rows(0, 200)}
    assert not prompts["dev"] & prompts["test"]
    assert not (prompts["dev"] | prompts["test"]) & training


@pytest.mark.parametrize("world", sorted(mini.TASKS))
def test_equal_arguments_give_equal_rows(world: str) -> None:
    rows = mini.generate(world, "crowd", 150, 3)
    assert len(rows) == 150
    assert rows == mini.generate(world, "crowd", 150, 3)
    assert rows != mini.generate(world, "crowd", 150, 4)


def test_always_the_same_answer_does_not_pay() -> None:
    for world in ("sets", "decide", "analysis"):
        found = [pair.answer for pair in mini.generate(world, "dev", 200, 0)]
        assert max(map(found.count, set(found))) < 70


def test_an_unknown_world_or_part_names_the_known_ones() -> None:
    with pytest.raises(UsageProblem) as caught:
        mini.generate("set", "dev", 1, 0)
    assert "sets" in caught.value.hint
    assert "listops" in caught.value.hint
    with pytest.raises(UsageProblem) as caught:
        mini.generate("sets", "train", 1, 0)
    assert "curated" in caught.value.hint
