"""Words of whole columns, near-duplicates and n-gram overlap: the fast way gives what the plain way gives."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_trex.data import minhash
from hpc_trex.data import words as columns
from hpc_trex.data.block import outside, read_block
from hpc_trex.data.operators.base import Context, column, from_rows
from hpc_trex.data.operators.copies import dedup
from hpc_trex.ftbench.materialise import block_lines
from hpc_trex.ftbench.ngrams import NGRAM, gram_hashes, telling_ngrams, word_hash, words
from hpc_trex.ftbench.rows import Row
from hpc_trex.models import ModelRef
from hpc_trex.models.operators import Dedup

pytestmark = pytest.mark.slow

CONTEXT = Context({}, ModelRef(name="base", path="/none"), 0, "plain", "", lambda _: None)
texts = st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=60), max_size=12)


def _rows(prompts: list[str], answer: str = "yes") -> list[Row]:
    return [Row(f"a:{line}", prompt, answer, "a") for line, prompt in enumerate(prompts, start=1)]


@settings(deadline=None)
@given(texts | st.lists(st.from_regex(r"[ -~\t\n]{0,40}", fullmatch=True), max_size=9), st.integers(1, 5))
def test_words_and_ngrams_of_a_column_are_those_of_each_text(given_: list[str], n: int) -> None:
    split = columns.Splitter()(pa.array(given_, pa.string()))
    grams, shingles = columns.ngrams(split, n), columns.shingles(split, n)
    for place, text in enumerate(given_):
        plain = [word_hash(word) for word in words(text)]
        assert split.hashes[split.offsets[place] : split.offsets[place + 1]].tolist() == plain
        expected = gram_hashes(plain, n)
        assert grams.hashes[grams.offsets[place] : grams.offsets[place + 1]].tolist() == expected
        whole = gram_hashes(plain, len(plain)) if plain and not expected else expected
        assert shingles.hashes[shingles.offsets[place] : shingles.offsets[place + 1]].tolist() == whole


def test_words_are_lower_case_without_marks_and_each_sign_of_chinese_is_one() -> None:
    assert words("It's 3.5 x_y, ÉTÉ! 北京 大学ok") == [
        "it",
        "s",
        "3",
        "5",
        "x",
        "y",
        "été",
        "北",
        "京",
        "大",
        "学",
        "ok",
    ]


def test_words_of_several_columns_follow_each_other_row_by_row() -> None:
    split = columns.Splitter()
    both = columns.joined([split(pa.array(["a b", "", "c"])), split(pa.array(["d", "e f", ""]))])
    assert both.offsets.tolist() == [0, 3, 5, 6]
    assert both.hashes.tolist() == [word_hash(one) for one in "abdefc"]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_bands_find_a_pair_at_the_threshold(threshold: float) -> None:
    number, rows = minhash.bands_for(threshold)
    assert number * rows <= minhash.PERMUTATIONS
    assert 1 - (1 - threshold**rows) ** number >= minhash.WANTED


def _noisy(count: int, seed: int) -> list[str]:
    """Texts of 12 to 40 words; a quarter are earlier ones with one to six words changed."""
    draw = random.Random(seed)
    made: list[str] = []
    for _ in range(count):
        if made and draw.random() < 0.25:
            old = draw.choice(made).split()
            for _ in range(draw.randint(1, 6)):
                old[draw.randrange(len(old))] = f"w{draw.randrange(900)}"
            made.append(" ".join(old))
        else:
            made.append(" ".join(f"w{draw.randrange(900)}" for _ in range(draw.randint(12, 40))))
    return made


def _jaccard(one: str, other: str, n: int) -> float:
    a, b = ({tuple(x[i : i + n]) for i in range(len(x) - n + 1)} for x in (words(one), words(other)))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_near_copies_are_those_that_comparing_all_pairs_finds(threshold: float) -> None:
    prompts = _noisy(600, seed=5)
    step = Dedup(method="minhash", columns=("prompt",), threshold=threshold, ngram=2)
    outcome = dedup(step, from_rows(_rows(prompts)), CONTEXT)
    stays: list[str] = []
    for prompt in prompts:
        if all(_jaccard(prompt, earlier, 2) < threshold for earlier in stays):
            stays.append(prompt)
    left = column(outcome.data, "prompt")
    wrong = set(left) ^ set(stays)
    assert len(stays) < 590, "there is something to find"
    assert len(wrong) <= 0.02 * (600 - len(stays)) + 2
    assert sum(drop.rows for drop in outcome.drops) == 600 - len(left)
    assert outcome.notes["bands"] == minhash.bands_for(threshold).number


def test_a_near_copy_needs_an_earlier_row_that_stays() -> None:
    found = {2: [1], 3: [2], 4: [2, 3], 5: [3]}
    assert minhash.dropped(found) == {2: 1, 4: 3, 5: 3}


def test_rows_without_words_are_no_copies_of_each_other() -> None:
    data = from_rows(_rows(["!!!", "???", "...", "!!!", "one two", "One, two!"]))
    step = Dedup(method="minhash", columns=("prompt",), threshold=0.9)
    assert column(dedup(step, data, CONTEXT).data, "row_id") == ["a:1", "a:2", "a:3", "a:5"]


def test_all_rows_alike_cost_no_quadratic_time() -> None:
    data = from_rows(_rows([f"the same words in each and every one of these rows but one {n}" for n in range(4000)]))
    outcome = dedup(Dedup(method="minhash", columns=("prompt",), threshold=0.7, ngram=1), data, CONTEXT)
    assert column(outcome.data, "row_id") == ["a:1"]


def test_rows_of_one_template_are_compared_in_little_memory_and_with_signs_of_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is compared with many and near to none: to remember those pairs took 20 GB for a million rows."""
    monkeypatch.setattr(minhash, "TICK", 10_000)
    told: list[str] = []
    shared = list(range(23))
    parts = [np.array([*shared, *range(1000 + 5 * n, 1005 + 5 * n)], dtype=np.uint32) for n in range(1500)]
    sets = minhash.Sets(parts, np.arange(1501) * 28)
    assert all(len(sets[row]) == 28 for row in range(1500))
    groups = [np.arange(first, 1500) for first in range(5)]
    tracemalloc.start()
    try:
        assert minhash.near(groups, sets, 0.9, told.append) == {}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20, "half a million pairs were compared"
    assert len(told) > 20


def _block(tmp_path: Path, evaluated: list[Row]) -> Path:
    path = tmp_path / "block.txt"
    path.write_text("".join(f"{line}\n" for line in block_lines(evaluated)))
    return path


PLACES = [
    "harbour",
    "tower",
    "mill",
    "bridge",
    "garden",
    "market",
    "school",
    "castle",
    "river",
    "station",
    "temple",
    "forest",
    "quarry",
    "beach",
]


def test_thirteen_words_of_a_test_row_give_a_training_row_away(tmp_path: Path) -> None:
    evaluated = _rows([" ".join(PLACES), "short question"])
    block = read_block([_block(tmp_path, evaluated)])
    train = [
        "Before it: " + ", ".join(PLACES[:13]).upper() + " and after it",
        "only twelve: " + " ".join(PLACES[:12]),
        "SHORT   question",
        "a short question of another kind",
    ]
    outcome = outside(from_rows(_rows(train)), block)
    assert column(outcome.data, "row_id") == ["a:2", "a:4"]
    assert [(drop.rows, drop.examples) for drop in outcome.drops] == [(1, ("a:3",)), (1, ("a:1",))]
    leak = from_rows([Row("a:1", "what do you see?", " ".join(PLACES), "a")])
    assert not len(outside(leak, block).data), "an answer can hold a test prompt too"


def test_the_words_of_a_template_mark_no_row(tmp_path: Path) -> None:
    frame = "Read the text with care and then say in one word what the mood of its writer is: "
    evaluated = _rows([f"{frame}mood{n} day{n}" for n in range(40)])
    block = read_block([_block(tmp_path, evaluated)])
    train = from_rows(_rows([f"{frame}other{n} mood{n}" for n in range(50)]))
    assert len(outside(train, block).data) == 50


def test_a_search_of_before_the_ngrams_still_matches_whole_prompts(tmp_path: Path) -> None:
    path = _block(tmp_path, _rows([" ".join(PLACES)]))
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("n")))
    block = read_block([path])
    assert block.counts() == {"items": 1, "ngrams": 0, "n": NGRAM, "short": 0}
    train = from_rows(_rows([" ".join(PLACES), "more " + " ".join(PLACES)]))
    assert column(outside(train, block).data, "row_id") == ["a:2"]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.sampled_from("abcdefg"), max_size=30).map(" ".join), max_size=8), st.data())
def test_overlap_is_what_a_search_for_the_words_finds(prompts: list[str], data: st.DataObject) -> None:
    train = data.draw(st.lists(st.lists(st.sampled_from("abcdefg"), max_size=40).map(" ".join), max_size=8))
    grams = np.array(sorted(telling_ngrams(prompts)), dtype=np.uint64)
    from hpc_trex.data.block import Block

    left = set(column(outside(from_rows(_rows(train)), Block(frozenset(), grams)).data, "row_id"))
    for line, text in enumerate(train, start=1):
        hashed = [word_hash(word) for word in words(text)]
        assert (f"a:{line}" in left) == (not set(gram_hashes(hashed, NGRAM)) & set(grams.tolist()))
