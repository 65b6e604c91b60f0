"""The prepared set as the training sees it: rows read from Arrow, mixed, tokenised, in their order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import JobFailure
from hpc_trex.models import FailureClass

IGNORED = -100
"""Label of a token that carries no loss (cross-entropy's ``ignore_index``)."""


class Rows(NamedTuple):
    """Columns of a prepared set, equally long."""

    prompts: list[str]
    answers: list[str]
    sources: list[str]


class Sample(NamedTuple):
    """One tokenised row: ids, and how many of the first are prompt and carry no loss."""

    ids: list[int]
    prompt_length: int

    @property
    def labels(self) -> list[int]:
        return [IGNORED] * self.prompt_length + self.ids[self.prompt_length :]

    @property
    def answer_tokens(self) -> int:
        """Tokens that carry loss: the first token of a row has nothing before it that could predict it."""
        return len(self.ids) - max(1, self.prompt_length)


def read_manifest(data_dir: Path) -> dict[str, Any]:
    """Return ``manifest.json`` of a prepared set. Raises :class:`JobFailure` (DATA) where it is missing or broken."""
    path = data_dir / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise JobFailure(f"the prepared set has no usable {path}: {error}", failure=FailureClass.DATA) from error
    return dict(manifest)


def read_rows(folder: Path) -> Rows:
    """Read a set saved by ``datasets`` (``save_to_disk``).

    The Arrow files are read directly: importing ``datasets`` costs more than a short training's whole set-up.
    """
    import pyarrow as pa  # type: ignore[import-untyped]

    try:
        files = [entry["filename"] for entry in json.loads((folder / "state.json").read_text())["_data_files"]]
        tables = [pa.ipc.open_stream(pa.memory_map(str(folder / name))).read_all() for name in files]
        table = pa.concat_tables(tables).select(["prompt", "answer", "source"])
    except (OSError, KeyError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise JobFailure(f"the prepared set in {folder} cannot be read: {error}", failure=FailureClass.DATA) from error
    prompts, answers, sources = (table.column(name).to_pylist() for name in ("prompt", "answer", "source"))
    return Rows(prompts, answers, sources)


def mix(rows: Rows, weights: dict[str, float], seed: int) -> Rows:
    """Return a part of the rows in which the sources stand in the given weights, none repeated, order kept."""
    import numpy as np

    from hpc_trex.data.mixing import mix_counts

    places: dict[str, list[int]] = {}
    for index, source in enumerate(rows.sources):
        places.setdefault(source, []).append(index)
    counts = mix_counts(weights, {name: len(where) for name, where in places.items()}, None, False)
    rng = np.random.default_rng([seed, 1])
    kept: list[int] = []
    for name in sorted(counts):
        where = places.get(name, [])
        kept += [where[index] for index in rng.permutation(len(where))[: counts[name]]]
    return part(rows, sorted(kept))


def part(rows: Rows, places: Sequence[int]) -> Rows:
    """Return the rows at ``places``, in that order."""
    return Rows(*([column[place] for place in places] for column in rows))


def tokenise(rows: Rows, tokenizer: Any, *, max_seq_len: int, style: str) -> tuple[list[Sample], int]:
    """Return the samples and how many were cut.

    Prompt and answer are tokenised apart, as at evaluation, where the answer is generated token by token after the
    prompt; the answer ends with the tokenizer's end of text. A row that is too long loses the beginning of its
    prompt, never the end of its answer. In the ``chat`` style the template has put special tokens in already.
    """
    if not rows.prompts:
        raise JobFailure("the training set is empty", failure=FailureClass.DATA, hint="loosen the recipe's filters")
    plain = style != "chat"
    samples, cut = [], 0
    for before, after in _halves(rows, tokenizer, special=plain):
        ids = [*before, *after]
        over = max(0, len(ids) - max_seq_len)
        cut += over > 0
        samples.append(Sample(ids[over:], max(0, len(before) - over)))
    return samples, cut


def tokenise_texts(rows: Rows, tokenizer: Any, *, max_seq_len: int, style: str) -> list[Sample]:
    """Return the samples of continued pre-training: all tokens carry loss, prompt and answer are one text.

    A text that is longer than ``max_seq_len`` becomes several samples, so that nothing of it is lost. A row without an
    answer is plain text, which no chat template has touched.
    """
    bare = [not answer.strip() for answer in rows.answers]
    found: dict[int, list[int]] = {}
    for plain in (True, False):
        own = [place for place, text_only in enumerate(bare) if text_only == plain]
        if own:
            halves = _halves(part(rows, own), tokenizer, special=plain or style != "chat")
            found |= {place: [*before, *after] for place, (before, after) in zip(own, halves, strict=True)}
    whole = (found[place] for place in range(len(bare)))
    pieces = (ids[start : start + max_seq_len] for ids in whole for start in range(0, len(ids), max_seq_len))
    return [Sample(piece, 0) for piece in pieces if len(piece) > 1]


def _halves(rows: Rows, tokenizer: Any, *, special: bool) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the ids of prompt and answer of each row, the answer with the end of text."""
    prompts = tokenizer(rows.prompts, add_special_tokens=special, return_attention_mask=False)["input_ids"]
    answers = tokenizer(rows.answers, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    end = tokenizer.eos_token_id
    for given, wanted in zip(prompts, answers, strict=True):
        # Some tokenizers end every text: a prompt goes on.
        before = given[:-1] if special and given and given[-1] == end else given
        yield before, wanted if wanted and wanted[-1] == end else [*wanted, end]


class Stream:
    """The endless order of samples: epoch after epoch, each shuffled by seed and epoch, or all in the fixed order.

    A position in it is one integer, which is all that a resumed training needs.
    """

    def __init__(self, size: int, *, seed: int, ordered: bool) -> None:
        self._size = size
        self._seed = seed
        self._ordered = ordered
        self._epoch = -1
        self._order: Sequence[int] = ()

    def take(self, start: int, count: int) -> list[int]:
        """Return the sample indices at positions ``start`` to ``start + count``."""
        return [self._at(position) for position in range(start, start + count)]

    def _at(self, position: int) -> int:
        epoch, place = divmod(position, self._size)
        if self._ordered:
            return place
        if epoch != self._epoch:
            import numpy as np

            self._epoch = epoch
            self._order = np.random.default_rng([self._seed, 0, epoch]).permutation(self._size).tolist()
        return self._order[place]
