"""Steps that ask the base model for numbers of single rows: they are those that transformers itself gives, row by row."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest

from hpc_trex.data.embed import close_to_earlier, embeddings
from hpc_trex.data.operators.base import Context, from_rows
from hpc_trex.data.operators.copies import dedup
from hpc_trex.data.operators.judged import filter_perplexity, filter_similar
from hpc_trex.ftbench.rows import Row
from hpc_trex.models import ModelRef
from hpc_trex.models.operators import Dedup, FilterPerplexity, FilterSimilar

pytestmark = pytest.mark.local

WORDS = [
    "max",
    "min",
    "first",
    "last",
    "of",
    "the",
    "numbers",
    "is",
    "seven",
    "three",
    "what",
    "which",
    "one",
    "two",
    "and",
    "then",
    "answer",
]


@pytest.fixture(scope="module")
def context(untrained: dict[str, str]) -> Context:
    return Context({}, ModelRef(**untrained), 0, "plain", "", lambda _: None)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    rng = random.Random(3)
    prompts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 30))) for _ in range(40)]
    return [Row(f"a:{n}", prompt, rng.choice(WORDS), "a") for n, prompt in enumerate(prompts, start=1)]


def test_perplexity_is_that_of_the_model_on_the_text_alone(context: Context, rows: list[Row]) -> None:
    import torch

    from hpc_trex.training.load import load_model, load_tokenizer

    model = load_model(context.base, attention="sdpa", precision="fp32").model.eval()
    tokenizer = load_tokenizer(context.base)
    losses = []
    for row in rows:
        ids = [*tokenizer("")["input_ids"], *tokenizer(row.prompt, add_special_tokens=False)["input_ids"]]
        ids = torch.tensor([[*ids, tokenizer.eos_token_id]])
        with torch.no_grad():
            losses.append(float(model(input_ids=ids, labels=ids).loss))
    middle = math.exp(sorted(losses)[20] - 1e-4)
    outcome = filter_perplexity(FilterPerplexity(text="prompt", max_perplexity=middle), from_rows(rows), context)
    assert outcome.data["row_id"] == [
        row.row_id for row, loss in zip(rows, losses, strict=True) if loss < math.log(middle)
    ]
    assert outcome.drops[0].reason == f"perplexity of prompt above {middle:g}"
    assert outcome.notes["median_perplexity"] == pytest.approx(math.exp(sorted(losses)[20]), rel=1e-3)
    both = FilterPerplexity(min_perplexity=1, max_perplexity=1e9)
    assert len(filter_perplexity(both, from_rows(rows), context).data) == len(rows), "of answers given their prompts"


def test_an_embedding_is_the_mean_over_the_tokens_whatever_the_batch(context: Context, rows: list[Row]) -> None:
    import torch

    from hpc_trex.training.load import load_model, load_tokenizer

    found = embeddings(from_rows(rows), context, ("prompt",))
    model = load_model(context.base, attention="sdpa", precision="fp32").model.base_model.eval()
    tokenizer = load_tokenizer(context.base)
    with torch.no_grad():
        plain = np.stack([model(torch.tensor([tokenizer(row.prompt)["input_ids"]])).last_hidden_state[0].mean(dim=0).numpy() for row in rows])  # fmt: skip
    plain -= plain.mean(axis=0)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(found, plain, atol=2e-5)


def test_of_rows_that_lie_together_the_first_stays(context: Context, rows: list[Row]) -> None:
    copies = [row._replace(row_id=f"b:{n}", prompt=row.prompt + " one") for n, row in enumerate(rows[5:15])]
    long = [row for row in copies if len(row.prompt) > 60]
    outcome = dedup(Dedup(columns=("prompt",), method="semantic", threshold=0.9), from_rows([*rows, *copies]), context)
    stayed = set(outcome.data["row_id"])
    assert {row.row_id for row in rows} - stayed <= {row.row_id for row in rows[1:]}
    assert long
    assert not stayed & {row.row_id for row in long}
    assert outcome.drops[-1].reason == "a cosine of at least 0.9 with an earlier row"


@pytest.mark.parametrize("block", [7, 2048])
def test_blocks_give_what_comparing_one_row_after_the_other_gives(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpc_trex.data.embed.BLOCK", block)
    vectors = np.random.default_rng(1).normal(size=(120, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kept: list[int] = []
    gone = []
    for place, vector in enumerate(vectors):
        near = any(float(vector @ vectors[other]) >= 0.8 for other in kept)
        (gone if near else kept).append(place)
    assert close_to_earlier(vectors, 0.8, lambda _: None) == gone
    assert 20 < len(gone) < 110


def test_rows_like_a_trusted_source_stay_by_their_embeddings(context: Context, tmp_path: Path) -> None:
    like = [Row(f"a:{n}", f"max of the numbers is {WORDS[n % 9]}", "x", "a") for n in range(20)]
    unlike = [Row(f"b:{n}", f"then answer which two and {WORDS[n % 9]}", "x", "b") for n in range(20)]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row._asdict()) + "\n" for row in like[:10]))
    step = FilterSimilar(reference="a", min_similarity=0.0, by="embedding")
    outcome = filter_similar(step, from_rows([*like, *unlike]), context._replace(sources={"a": file}))
    assert outcome.data["row_id"] == [row.row_id for row in like]
    assert outcome.drops[0].reason == "less than 0.0 like a (embeddings)"
