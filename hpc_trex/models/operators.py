"""The parameters of the data operators. A data recipe is a list of them; ``hpc_trex.data`` runs them in a job.

Rows have four columns from the first operator to the last: ``prompt`` (rendered by the task card's template, without
chat markup), ``answer``, ``source`` (the name of the source in the task card) and ``row_id`` (``source:line``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from hpc_trex.models.asking import Generate, Judge, Label, Rewrite
from hpc_trex.models.base import Record


class Load(Record):
    """Append the rows of one training source of the task card, all or the first ``limit``."""

    op: Literal["load"] = "load"
    source: str
    limit: int | None = Field(default=None, ge=1)


class Mix(Record):
    """Draw rows so that the sources stand in the given weights, by integer counts (largest remainder)."""

    op: Literal["mix"] = "mix"
    weights: dict[str, float] = {}
    """Weight by source name; normalised. A source that is not named is left out. Empty, with a temperature: all sources,
    each with the weight of its rows.
    """
    total: int | None = Field(default=None, ge=1)
    """Rows wanted; default: as many as the weights allow without repeating a row."""
    repeat: bool = False
    """Allow rows to be repeated where a source is too small for its weight (needs ``total``)."""

    temperature: float | None = Field(default=None, ge=0.1, le=100)
    """Each weight w becomes w ** (1 / temperature): above 1 the sources come nearer to equal parts."""
    caps: dict[str, Annotated[int, Field(ge=1)]] | None = None
    """At most so many different rows of a source, by its name."""

    @model_validator(mode="after")
    def _weights_add_up(self) -> Mix:
        if not self.weights:
            if self.temperature is None:
                raise ValueError("mix needs weights, or a temperature for the sizes of the sources")
            if self.repeat and self.total is None:
                raise ValueError("mix with repeat = true needs total")
            return self
        if min(self.weights.values()) < 0 or sum(self.weights.values()) <= 0:
            raise ValueError("mix weights must be at least 0 and not all 0")
        if self.repeat and self.total is None:
            raise ValueError("mix with repeat = true needs total")
        return self


class FilterLength(Record):
    """Keep rows whose column has between ``min_chars`` and ``max_chars`` characters."""

    op: Literal["filter_length"] = "filter_length"
    column: Literal["prompt", "answer"] = "answer"
    min_chars: int = Field(default=1, ge=0)
    max_chars: int | None = Field(default=None, ge=1)


class FilterRegex(Record):
    """Keep (or drop) the rows in whose column the pattern is found."""

    op: Literal["filter_regex"] = "filter_regex"
    column: Literal["prompt", "answer"] = "prompt"
    pattern: str = Field(min_length=1, max_length=500)
    keep: bool = True


class Dedup(Record):
    """Keep the first of rows that are copies of each other in ``columns``.

    ``exact``: equal after lower-casing and squeezing white space. ``minhash``: also rows whose sets of word n-grams
    have a Jaccard index of at least ``threshold`` (candidates by MinHash and LSH, each confirmed exactly). Rows made
    from one template with few words of their own are near to each other: raise ``threshold`` or use ``exact`` there.
    ``semantic``: also rows whose embeddings (mean hidden state of the base model, the set's mean taken out) have a cosine
    of at least ``threshold``.
    """

    op: Literal["dedup"] = "dedup"
    columns: tuple[Literal["prompt", "answer"], ...] = Field(default=("prompt", "answer"), min_length=1)
    method: Literal["exact", "minhash", "semantic"] = "exact"
    threshold: float | None = Field(default=None, ge=0.3, le=1)
    """From which Jaccard index (``minhash``; 0.8 where it is left out) or cosine (``semantic``; 0.95) a row counts as a copy."""
    ngram: int | None = Field(default=None, ge=1, le=13)
    """Of ``minhash``: words in one shingle, fewer find looser copies; 3 where it is left out."""

    @model_validator(mode="after")
    def _only_of_minhash(self) -> Dedup:
        if self.method == "exact" and (self.threshold is not None or self.ngram is not None):
            raise ValueError('threshold and ngram are of method = "minhash"')
        if self.method == "semantic" and self.ngram is not None:
            raise ValueError('ngram is of method = "minhash"')
        return self


class FilterTokens(Record):
    """Keep rows of a length in tokens of the base model's tokenizer, prompt and answer as they will be trained on."""

    op: Literal["filter_tokens"] = "filter_tokens"
    column: Literal["prompt", "answer", "both"] = "both"
    min_tokens: int = Field(default=1, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _not_empty(self) -> FilterTokens:
        if self.max_tokens is not None and self.max_tokens < self.min_tokens:
            raise ValueError(f"max_tokens {self.max_tokens} is below min_tokens {self.min_tokens}: no row is left")
        return self


class FilterLanguage(Record):
    """Keep rows whose text is in one of the languages, as py3langid tells them (naive Bayes over bytes).

    It always names some language, also for code, numbers or formulas, and is unsure of short texts: a text of fewer than
    ``min_chars`` letters, or one that is told with less than ``min_probability``, is kept.
    """

    op: Literal["filter_language"] = "filter_language"
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2}$")], ...] = Field(min_length=1)
    """Codes of ISO 639-1, e.g. ``en``."""
    column: Literal["prompt", "answer"] = "prompt"
    min_chars: int = Field(default=20, ge=0)
    """Letters; signs, digits and blanks do not count."""
    min_probability: float = Field(default=0.9, ge=0, le=1)


class FilterQuality(Record):
    """Drop texts that look like waste by simple counts (after Gopher, arXiv 2112.11446, table A1). None: not checked.

    A word is a run of letters and digits; of Chinese, Japanese and Korean each sign is one.
    """

    op: Literal["filter_quality"] = "filter_quality"
    column: Literal["prompt", "answer"] = "answer"
    min_words: int = Field(default=1, ge=0)
    max_words: int | None = Field(default=None, ge=1)
    max_mean_word: float | None = Field(default=20.0, gt=0)
    """Mean characters of a word; Gopher has 3 to 10 for English web pages."""
    max_symbol_share: float | None = Field(default=0.5, ge=0, le=1)
    """Characters that are neither letters, digits nor blanks, as a share of all."""
    max_repeated_lines: float | None = Field(default=0.3, ge=0, le=1)
    """Lines that stood in the text before, as a share of its lines that are not empty."""
    max_repeated_ngrams: float | None = Field(default=0.3, ge=0, le=1)
    """Runs of three words that stood in the text before, as a share of all such runs: a text that goes in circles."""


class Convert(Record):
    """Write prompt and answer anew by Jinja2 templates over ``prompt``, ``answer`` and ``source`` (sandboxed, strict).

    E.g. ``answer = "{{ answer | upper }}"``. A row that becomes empty fails the round; plain text (no answer) stays as it is.
    """

    op: Literal["convert"] = "convert"
    prompt: str = Field(default="{{ prompt }}", min_length=1, max_length=10_000)
    answer: str = Field(default="{{ answer }}", min_length=1, max_length=10_000)


class FilterSimilar(Record):
    """Keep rows whose prompts are like those of a trusted source: cosine of hashed word n-grams, or of embeddings (mean
    hidden state of the base model, the mean of both sets taken out: 0 is neither like nor unlike).
    """

    op: Literal["filter_similar"] = "filter_similar"
    reference: str
    """The source whose prompts define what on-task means."""
    min_similarity: float = Field(default=0.5, ge=0, le=1)
    """Cosine with the mean vector of the reference below which a row is dropped."""
    by: Literal["words", "embedding"] = "words"


class FilterConflicts(Record):
    """Where one prompt has several different answers, keep the majority answer, or none when there is no majority."""

    op: Literal["filter_conflicts"] = "filter_conflicts"


class FilterLoss(Record):
    """Drop the rows that a model finds most surprising: wrong answers stand out by their loss.

    ``base``: the base model's own loss. ``crossfit``: two copies are tuned, each on one half of the rows, and each
    half is judged by the copy that has not seen it, so that a row cannot vouch for itself.
    """

    op: Literal["filter_loss"] = "filter_loss"
    judge: Literal["base", "crossfit"] = "crossfit"
    drop_fraction: float = Field(default=0.3, gt=0, lt=1)
    steps: int = Field(default=80, ge=1, le=2000)
    """Optimizer steps of each crossfit copy."""


class FilterPerplexity(Record):
    """Keep texts whose perplexity under the base model (e to the mean loss a token) is within bounds; one must be given.
    Of the answer given its prompt, or of a text by itself. High: broken or foreign text. Very low: boilerplate.
    """

    op: Literal["filter_perplexity"] = "filter_perplexity"
    text: Literal["answer_given_prompt", "prompt", "answer"] = "answer_given_prompt"
    min_perplexity: float | None = Field(default=None, ge=1)
    max_perplexity: float | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _bounded(self) -> FilterPerplexity:
        if self.min_perplexity is None and self.max_perplexity is None:
            raise ValueError("filter_perplexity needs min_perplexity or max_perplexity")
        if (self.min_perplexity or 1) > (self.max_perplexity or float("inf")):
            raise ValueError("min_perplexity is above max_perplexity: no row is left")
        return self


class Augment(Record):
    """Add copies of drawn rows with a small change in their prompt, made by rule and seed; the answers stay right.

    ``case``: the prompt in lower or upper case. ``typos``: letters swapped, dropped or doubled in about ``strength`` of the
    words. ``choices``: options like ``A) ...``, ``B. ...`` on lines of their own are shuffled, and an answer that is one of
    their letters follows. A row that the change leaves as it is gets no copy.
    """

    op: Literal["augment"] = "augment"
    kind: Literal["case", "typos", "choices"]
    fraction: float = Field(default=0.5, gt=0, le=1)
    """Of the rows, drawn at random."""
    strength: float = Field(default=0.1, gt=0, le=1)
    """Of ``typos``."""
    replace: bool = False
    """The changed row takes the place of its original."""


class Sample(Record):
    """Draw rows without repeating: ``n`` rows or a ``fraction``.

    ``random``; ``stratified``: each source (or answer) in the share it has, or in equal parts; ``hardest``: the rows whose
    answer has the highest loss under the base model, which wrong answers have too.
    """

    op: Literal["sample"] = "sample"
    n: int | None = Field(default=None, ge=1)
    fraction: float | None = Field(default=None, gt=0, le=1)
    method: Literal["random", "stratified", "hardest"] = "random"
    by: Literal["source", "answer"] | None = None
    """Of ``stratified``: what makes a stratum; ``source`` where it is left out."""
    equal: bool = False
    """Of ``stratified``: as many rows of each stratum, as far as it has them."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Sample:
        if (self.n is None) == (self.fraction is None):
            raise ValueError("sample needs either n or fraction")
        if self.method != "stratified" and (self.by is not None or self.equal):
            raise ValueError('by and equal are of method = "stratified"')
        return self


class Split(Record):
    """Hold out a part for the validation loss; rows with one prompt stay on one side."""

    op: Literal["split"] = "split"
    holdout_fraction: float = Field(default=0.05, gt=0, lt=0.5)


class Order(Record):
    """Fix the order in which the training sees the rows (a curriculum); without it each epoch is shuffled."""

    op: Literal["order"] = "order"
    by: Literal["length", "loss"] = "length"
    """``length``: characters of prompt and answer; ``loss``: the base model's loss."""
    descending: bool = False


class Format(Record):
    """How prompt and answer become the model's text. Without it: ``chat`` if the tokenizer has a template."""

    op: Literal["format"] = "format"
    style: Literal["plain", "chat"] = "plain"


class Python(Record):
    """Run a function of yours on every row, in a sandbox: no network, no files but one folder for temporary ones, no
    processes or threads, standard library only.

    ``code`` defines ``transform(row: dict) -> dict | list[dict] | None``; ``row`` has the texts ``prompt``, ``answer``,
    ``source`` and ``row_id``. In mode ``map`` what it returns takes the row's place: a row, several, or none (None).
    Each must have ``prompt`` and ``answer`` as texts and no other columns; ``source`` and ``row_id`` may be left out and
    may not be changed. In mode ``filter`` the row is kept as it was where the function returns it or True, and dropped
    for None or False. An error on any row fails the round. Only where the profile allows it; twice in a recipe at most.
    """

    op: Literal["python"] = "python"
    code: str = Field(min_length=1, max_length=20_000)
    mode: Literal["map", "filter"] = "map"
    seconds: int = Field(default=120, ge=1, le=1800)
    """Wall time for all rows together."""
    memory_gb: float = Field(default=1.0, ge=0.1, le=16)
    max_output_rows: int = Field(default=1_000_000, ge=1, le=5_000_000)
    max_output_mb: int = Field(default=256, ge=1, le=1024)


Step = Annotated[
    Load
    | Mix
    | FilterLength
    | FilterRegex
    | FilterTokens
    | FilterLanguage
    | FilterQuality
    | Convert
    | Dedup
    | FilterSimilar
    | FilterConflicts
    | FilterLoss
    | FilterPerplexity
    | Augment
    | Generate
    | Rewrite
    | Judge
    | Label
    | Python
    | Sample
    | Split
    | Order
    | Format,
    Field(discriminator="op"),
]

#: Parameters that came after the first searches, by operator, with the value at which an identity does not name them:
#: the identity of an older recipe stays what it was.
LATER: dict[str, dict[str, object]] = {
    "dedup": {"method": "exact", "threshold": None, "ngram": None},
    "filter_similar": {"by": "words"},
    "mix": {"temperature": None, "caps": None},
    "sample": {"method": "random", "by": None, "equal": False},
}


def operator_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each operator's parameters, by the operator's name, in the order of their definition."""
    return {kind.model_fields["op"].default: kind.model_json_schema() for kind in get_args(get_args(Step)[0])}


def identity(step: Step) -> dict[str, object]:
    """Return what a step is, as plain data: what a digest of the experiment is taken of."""
    later = LATER.get(step.op, {})
    plain = step.model_dump(mode="json")
    return {name: value for name, value in plain.items() if name not in later or value != later[name]}
