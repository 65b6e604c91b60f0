# ruff: noqa: RUF001 # Chinese marks
"""What of dev and test is found in a training set: whole, in parts, and short prompts that are nearly the same.

The texts are the first sentences of this program's own docstrings: short, written by people, and all on one subject.
"""

from __future__ import annotations

import ast
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpc_trex
from hpc_trex.data import similar
from hpc_trex.data.block import outside, read_block
from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators.base import from_rows
from hpc_trex.data.prepare import prepare
from hpc_trex.ftbench import similar as rules
from hpc_trex.ftbench.cards import LoadedCard
from hpc_trex.ftbench.materialise import block_lines, materialise
from hpc_trex.ftbench.ngrams import NGRAM, words
from hpc_trex.ftbench.rows import Row
from hpc_trex.layout import SearchPaths
from hpc_trex.models import FailureClass, MetricSpec, Prompt, Source, TaskCard
from hpc_trex.models.task import Contamination
from tests.unit.data.recipes import Bench, prepared

TEMPLATE = "Is this sentence about a file, a job or a model? Sentence: {}\nAnswer:"


@cache
def sentences(*rooms: str) -> tuple[str, ...]:
    """Return short first sentences of docstrings, in a fixed order."""
    found: dict[str, str] = {}
    for room in rooms:
        for path in sorted((Path(hpc_trex.__file__).parent / room).rglob("*.py")):
            for one in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(one, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(one)):
                    line = text.strip().splitlines()[0]
                    if 5 <= len(words(line)) < NGRAM and len(line) > 35:
                        found.setdefault(" ".join(words(line)), line)
    return tuple(found.values())


def asked() -> tuple[str, ...]:
    return sentences("tree", "slurm", "sweep")[:300]


def blocked(*, prompts: list[str]) -> similar.Prints:
    made = rules.fingerprints(prompts)
    return similar.prints(made.keys, sorted(made.common), made.longest)


def near(texts: list[str], prompts: list[str]) -> np.ndarray:
    rows = [Row(f"a:{number}", text, "x", "a") for number, text in enumerate(texts)]
    return similar.near(from_rows(rows), blocked(prompts=prompts))


def _words(change: Callable[[list[str], random.Random], None]) -> Callable[[str, random.Random], str]:
    def changed(text: str, draw: random.Random) -> str:
        parts = text.split()
        change(parts, draw)
        return " ".join(parts)

    return changed


def _swap(parts: list[str], draw: random.Random) -> None:
    place = draw.randrange(len(parts) - 1)
    parts[place], parts[place + 1] = parts[place + 1], parts[place]


def _drop(parts: list[str], draw: random.Random) -> None:
    del parts[draw.randrange(len(parts))]


def _replace(parts: list[str], draw: random.Random) -> None:
    parts[draw.randrange(len(parts))] = "something"


def _typo(text: str, draw: random.Random) -> str:
    place = draw.randrange(1, len(text) - 1)
    return text[:place] + draw.choice("abcdefgh") + text[place + 1 :]


#: Kind of light paraphrase, how it is made, and the share that is found at least.
PARAPHRASES = {
    "case and marks": (lambda text, _: f"  {text.upper().rstrip('.')}!! ", 1.0),
    "one letter": (_typo, 0.98),
    "two words swapped": (_words(_swap), 0.9),
    "a word left out": (_words(_drop), 0.9),
    "a word replaced": (_words(_replace), 0.7),
    "an opening": (lambda text, _: f"Now tell me: {text}", 0.9),
}


@pytest.mark.parametrize("kind", PARAPHRASES)
@pytest.mark.parametrize("template", ["{}", TEMPLATE], ids=["bare", "template"])
def test_light_paraphrases_of_short_prompts_are_found(kind: str, template: str) -> None:
    change, least = PARAPHRASES[kind]
    draw = random.Random(7)
    prompts = [template.format(text) for text in asked()]
    found = near([template.format(change(text, draw)) for text in asked()], prompts)
    printed = len(rules.fingerprints(prompts).keys)
    assert printed > 0.8 * len(prompts) > 100
    assert found.sum() >= least * printed, f"{kind}: {found.sum()} of {printed}"


def test_rows_of_another_origin_are_let_through() -> None:
    """Sentences of the same program on other parts of it: one in a hundred may be nearly one of those asked."""
    clean = sentences(
        "training", "evaluation", "research", "report", "sandbox", "doctor", "memory", "data", "staging", "agents"
    )
    assert len(clean) > 300
    for template in ("{}", TEMPLATE):
        prompts = [template.format(text) for text in asked()]
        found = near([template.format(text) for text in clean], prompts)
        alarms = [text for text, one in zip(clean, found, strict=True) if one]
        assert len(alarms) <= 0.01 * len(clean), alarms


def test_no_training_row_that_is_built_in_is_nearly_one_of_dev_or_test() -> None:
    """Their prompts are few words of a small vocabulary: many are nearly alike by nature. Most have no fingerprint."""
    from hpc_trex.ftbench.mini import TASKS, generate

    printed = {}
    for name in TASKS:
        prompts = [pair.prompt for part in ("dev", "test") for pair in generate(name, part, 200, 0)]
        printed[name] = len(rules.fingerprints(prompts).keys)
        trained = {pair.prompt for part in ("curated", "crowd", "web") for pair in generate(name, part, 150, 0)}
        assert not near(sorted(trained - set(prompts)), prompts).any(), name
    assert sorted(printed.values())[-3:-1] == [0, 1], printed


@given(st.lists(st.text(min_size=0, max_size=80), min_size=3, max_size=8))
def test_columns_and_single_texts_have_the_same_keys(texts: list[str]) -> None:
    """Whatever the script: a login node writes them one by one, a job reads whole columns."""
    from hpc_trex.data import minhash

    sets = [rules.runs(text) for text in texts]
    told = similar._telling(texts, np.array([], dtype=np.uint64))
    counts = np.diff(told.offsets)
    hasher = minhash.Hasher(minhash.Bands(rules.BANDS, rules.ROWS), 0, (rules.FACTORS, rules.MASKS))
    found = hasher.keys(counts, minhash.mixed(told.hashes)).astype(np.uint32)
    for place, runs in enumerate(sets):
        assert set(told.hashes[told.offsets[place] : told.offsets[place + 1]].tolist()) == runs
        if runs:
            assert found[place].tolist() == rules.keys(runs)


def test_a_chinese_prompt_is_known_again() -> None:
    prompts = [
        f"问题{number}：请问{city}的气候在春天和秋天有什么不同，为什么会这样呢？"
        for number, city in enumerate("北上广深津渝杭")
    ]
    changed = [prompt.replace("为什么会这样呢", "为什么这样呢") for prompt in prompts]
    own = [text + "　这里还有二十多个完全不一样的汉字可以说明每一行自己的内容" + text * 3 for text in "春夏秋冬"]
    assert not near(own, prompts).any()
    # All but the city is the template of these seven: there is nothing left that would tell them apart.
    assert not near(changed, prompts).any()
    several = [
        *prompts[:2],
        *(f"{text * 2}是另外一个很长的问题，和前面的没有关系，也不重复任何内容{text}" for text in "甲乙丙丁"),
    ]
    assert near([changed[0]], several).all()


def test_the_block_list_holds_no_text(tmp_path: Path) -> None:
    prompts = [TEMPLATE.format(text) for text in asked()[:50]]
    lines = block_lines([Row(f"dev:{place}", text, "a file", "dev") for place, text in enumerate(prompts)])
    (tmp_path / "block.txt").write_text("".join(f"{line}\n" for line in lines))
    assert all(set(line.partition(":")[2] or line) <= set("0123456789abcdef") for line in lines)
    block = read_block([tmp_path / "block.txt"])
    assert block.counts()["short"] == len(rules.fingerprints(prompts).keys) >= 30
    assert not any(line.startswith("s4:") for line in block_lines([Row("d:1", prompts[0], "x", "d")] * 2))


def test_planted_rows_are_dropped_with_the_reason_and_the_others_stay(tmp_path: Path) -> None:
    long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    prompts = [*map(TEMPLATE.format, asked()[:60]), long]
    rows = [Row(f"dev:{place}", text, "x", "dev") for place, text in enumerate(prompts)]
    (tmp_path / "block.txt").write_text("".join(f"{line}\n" for line in block_lines(rows)))
    draw = random.Random(3)
    planted = {
        "whole": f"  {prompts[0].upper()}",
        "part": f"before {long} after",
        "near": TEMPLATE.format(_typo(max(asked()[:60], key=lambda text: len(rules.runs(text))), draw)),
        "clean": TEMPLATE.format("The weather was fine on the day that the bridge was opened."),
    }
    data = from_rows([Row(name, text, "x", "a") for name, text in planted.items()])
    outcome = outside(data, read_block([tmp_path / "block.txt"]))
    assert outcome.data["row_id"][:] == ["clean"]
    assert {drop.reason: drop.examples for drop in outcome.drops} == {
        "the prompt stands in dev or test": ("whole",),
        "13 words in a row stand in dev or test": ("part",),
        "nearly a short prompt of dev or test": ("near",),
    }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "bench")
    bench.source("a", [(f"question {number}", f"answer {number}") for number in range(100)])
    return bench


@pytest.mark.parametrize(("leaked", "refused"), [(2, False), (10, False), (11, True), (100, True)])
def test_more_than_a_tenth_from_dev_or_test_refuses_the_round(bench: Bench, leaked: int, refused: bool) -> None:
    bench.block([f"Question  {number}" for number in range(leaked)])
    job = bench.spec([{"op": "load", "source": "a"}])
    if not refused:
        prepare(job, lambda _: None)
        assert len(prepared(job)) == 100 - leaked
        return
    with pytest.raises(DataProblem) as error:
        prepare(job, lambda _: None)
    assert error.value.failure is FailureClass.DATA
    assert not Path(job.data_dir or "").exists()
    if leaked < 100:  # of a set that is left empty its own message says the same
        said = "contamination: 11 of 100 rows (11.0%) stand in dev or test, more than 10%: 11 (the prompt stands"
        assert said in error.value.message


def test_a_small_set_is_not_refused_for_two_rows_and_a_card_may_allow_more(bench: Bench) -> None:
    bench.source("b", [(f"small {number}", "x") for number in range(4)])
    bench.block(["small 0", "small 1"])
    job = bench.spec([{"op": "load", "source": "b"}])
    prepare(job, lambda _: None)
    assert len(prepared(job)) == 2
    bench.block([f"question {number}" for number in range(50)])
    path = bench.root / "card.json"
    card = TaskCard.model_validate_json(path.read_text())
    path.write_text(card.model_copy(update={"contamination": Contamination(refuse=0.5)}).model_dump_json())
    job = bench.spec([{"op": "load", "source": "a"}])
    prepare(job, lambda _: None)
    assert len(prepared(job)) == 50


def test_what_all_rows_of_one_kind_are_asked_with_marks_no_training_row(tmp_path: Path) -> None:
    """A card of 25 tasks, as LawBench has 20: each task's own instruction stands in 4 % of its rows."""
    draw = random.Random(5)
    vocabulary = sorted({word for text in sentences("tree", "slurm", "sweep", "agents") for word in words(text)})

    def text(length: int) -> str:
        return " ".join(draw.sample(vocabulary, length))

    orders = {f"kind {number}": text(30) for number in range(25)}

    def rows(count: int) -> list[dict[str, str]]:
        return [{"kind": kind, "q": f"{orders[kind]}: {text(9)}"} for kind in orders for _ in range(count)]

    parts = {"dev": rows(4), "test": rows(16), "train": rows(4)}
    parts["train"].append({"kind": "kind 0", "q": parts["test"][0]["q"][5:]})
    for name, several in parts.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in several))
    card = TaskCard(
        name="kinds",
        sources={"train": Source(path="train.jsonl")},
        dev=Source(path="dev.jsonl"),
        test=Source(path="test.jsonl"),
        prompt=Prompt(prompt="{{ q }}", answer="yes"),
        metric=MetricSpec(name="exact_match", keep=("kind",), groups="kind"),
    )
    paths = SearchPaths(tmp_path / "search")
    materialise(LoadedCard(card, tmp_path / "card.toml"), paths)
    data = from_rows([Row(f"train:{n}", row["q"], "yes", "train") for n, row in enumerate(parts["train"])])
    drops = [drop for drop in outside(data, read_block([paths.block])).drops if drop.rows]
    assert [(drop.examples, drop.reason) for drop in drops] == [
        (("train:100",), "13 words in a row stand in dev or test")
    ]


def test_the_template_of_a_kind_is_in_no_fingerprint() -> None:
    kinds = [f"kind {place % 25}" for place in range(500)]
    orders = dict(zip(kinds, sentences("agents"), strict=False))
    prompts = [f"{orders[kind]} {text}" for kind, text in zip(kinds, asked() * 2, strict=False)]
    of_orders = set().union(*map(rules.runs, orders.values()))
    inside = rules.fingerprints(prompts, kinds[: len(prompts)]).common
    assert len(of_orders & inside) > 0.9 * len(of_orders)
    assert len(of_orders & rules.fingerprints(prompts).common) < 0.6 * len(of_orders)
