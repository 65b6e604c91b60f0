"""Hallmarks of Cancer: sentences of abstracts, brought together by abstract (task hoc)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hpc_trex.ftbench.upstream.files import rows_of, wrong

#: The classes in the order of their numbers in the column ``label``, as bigbio/hallmarks_of_cancer names them.
CLASSES = (
    "evading growth suppressors",
    "tumor promoting inflammation",
    "enabling replicative immortality",
    "cellular energetics",
    "resisting cell death",
    "activating invasion and metastasis",
    "genomic instability and mutation",
    "none",
    "inducing angiogenesis",
    "sustaining proliferative signaling",
    "avoiding immune destruction",
)


def read_hoc(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield a row an abstract: ``pmid``, ``text`` (its sentences with a blank between) and ``labels`` (by name, each once).

    The upstream row is a sentence: ``document_id`` (``PMID_number``), ``text``, ``label`` (class numbers, 7 for none). Sentences
    are put in the order of their numbers. Raises :class:`UsageProblem` naming file and row for any other shape.
    """
    sentences: dict[str, dict[int, tuple[str, list[int]]]] = {}
    for path in paths:
        for row in rows_of(path):
            pmid, number, text, label = _sentence(row.columns, row.where)
            if number in sentences.setdefault(pmid, {}):
                raise wrong(row.where, f"the sentence {pmid}_{number} stands in the file twice")
            sentences[pmid][number] = (text, label)
    for pmid, found in sentences.items():
        ordered = [found[number] for number in sorted(found)]
        named = {CLASSES[one] for _, label in ordered for one in label} - {"none"}
        yield {"pmid": pmid, "text": " ".join(text for text, _ in ordered), "labels": sorted(named)}


def _sentence(columns: dict[str, Any], where: str) -> tuple[str, int, str, list[int]]:
    pmid, _, number = str(columns.get("document_id", "")).rpartition("_")
    text, label = columns.get("text"), columns.get("label")
    if not pmid or not number.isdecimal():
        raise wrong(where, f"document_id is {columns.get('document_id')!r:.40}, not PMID_NUMBER")
    if not isinstance(text, str) or not text.strip():
        raise wrong(where, "text is empty, or no text")
    numbers = isinstance(label, list) and all(isinstance(one, int) and 0 <= one < len(CLASSES) for one in label)
    if not numbers or label is None:
        raise wrong(where, f"label is {label!r:.60}, not a list of the numbers 0 to {len(CLASSES) - 1}")
    return pmid, int(number), text.strip(), label
