"""Operators that drop rows by a measured number: likeness to trusted rows, or surprise of a model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators.base import (
    Context,
    Outcome,
    columns,
    dropped,
    from_rows,
    kept,
    picked,
    source_rows,
)
from hpc_trex.ftbench.rows import Row
from hpc_trex.models.operators import FilterLoss, FilterPerplexity, FilterSimilar

if TYPE_CHECKING:
    from datasets import Dataset


def filter_similar(step: FilterSimilar, data: Dataset, context: Context) -> Outcome:
    """Keep prompts near the mean of the reference's prompts: cosine of hashed counts of words and word pairs, or of embeddings."""
    rows = list(source_rows(context, step.reference))
    if not rows:
        raise DataProblem(f"filter_similar: the reference {step.reference} has no rows", hint="name another source")
    if step.by == "embedding":
        return _by_embedding(step, rows, data, context)
    from sklearn.feature_extraction.text import HashingVectorizer

    trusted = [row.prompt for row in rows]
    # Signs of both kinds would let two words that share a bucket cancel; counts only add up.
    words = r"\w+|[^\w\s]"
    vectors = HashingVectorizer(ngram_range=(1, 2), token_pattern=words, alternate_sign=False)
    mean = vectors.transform(trusted).mean(axis=0).A1
    length = float((mean**2).sum() ** 0.5)
    if length == 0:
        raise DataProblem(f"filter_similar: the prompts of {step.reference} hold no words", hint="name another source")
    batches = ([text for (text,) in batch] for batch in columns(data, "prompt"))
    cosines = (cosine for batch in batches for cosine in vectors.transform(batch) @ (mean / length))
    keep = (bool(cosine >= step.min_similarity) for cosine in cosines)
    return kept(data, keep, f"less than {step.min_similarity} like {step.reference}")


def _by_embedding(step: FilterSimilar, trusted: list[Row], data: Dataset, context: Context) -> Outcome:
    import numpy as np
    from datasets import concatenate_datasets

    from hpc_trex.data.embed import embeddings

    vectors = embeddings(concatenate_datasets([from_rows(trusted), data]), context, ("prompt",))
    mean = vectors[: len(trusted)].mean(axis=0)
    cosines = vectors[len(trusted) :] @ (mean / max(float(np.linalg.norm(mean)), 1e-12))
    keep = (bool(cosine >= step.min_similarity) for cosine in cosines)
    return kept(data, keep, f"less than {step.min_similarity} like {step.reference} (embeddings)")


def filter_loss(step: FilterLoss, data: Dataset, context: Context) -> Outcome:
    """Drop the fraction of rows with the highest loss."""
    from hpc_trex.data.loss_judge import base_losses, crossfit_losses

    losses = base_losses(data, context) if step.judge == "base" else crossfit_losses(data, context, step.steps)
    count = round(step.drop_fraction * len(data))
    worst = set(sorted(range(len(data)), key=lambda place: (-losses[place], place))[:count])
    limit = min((losses[place] for place in worst), default=float("inf"))
    keep = [place not in worst for place in range(len(data))]
    return kept(data, keep, f"among the {step.drop_fraction:.0%} with the highest loss ({step.judge})", limit=limit)


def filter_perplexity(step: FilterPerplexity, data: Dataset, context: Context) -> Outcome:
    """Keep texts whose perplexity, e to the mean loss a token, lies within the bounds."""
    from hpc_trex.data.loss_judge import base_losses, text_losses

    losses = base_losses(data, context) if step.text == "answer_given_prompt" else text_losses(data, context, step.text)
    low = math.log(step.min_perplexity or 1)
    high = math.inf if step.max_perplexity is None else math.log(step.max_perplexity)
    reasons = (("below", step.min_perplexity, [loss < low for loss in losses]), ("above", step.max_perplexity, [not loss <= high for loss in losses]))  # fmt: skip
    places = {side: [place for place, out in enumerate(marks) if out] for side, _, marks in reasons}
    gone = {place for these in places.values() for place in these}
    drops = [
        dropped(data, places[side], f"perplexity of {step.text} {side} {bound:g}")
        for side, bound, _ in reasons
        if bound
    ]
    stays = [place for place in range(len(data)) if place not in gone]
    middle = sorted(losses)[len(losses) // 2] if losses else 0.0
    return picked(data, stays, drops, median_perplexity=round(math.exp(min(middle, 700.0)), 3))
