"""``samples.jsonl``: what a model answered to each row. Reading it needs no torch, so the controller can."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.files import write_atomic

_REASONING = re.compile(r"<think>.*?</think>", re.DOTALL)


class EvaluatedRow(NamedTuple):
    """One evaluated row. ``answer`` is the model's raw text up to the stop string, ``reference`` the right answer."""

    row_id: str
    prompt: str
    answer: str
    reference: str
    score: float
    flags: tuple[str, ...] = ()


def write_samples(path: Path, rows: Iterable[EvaluatedRow]) -> None:
    """Write the rows as JSONL, whole or not at all."""
    write_atomic(path, "".join(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file of rows, as a result names it."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_samples(path: Path) -> Iterator[EvaluatedRow]:
    """Yield the rows of a file that :func:`write_samples` wrote, one at a time.

    Raises ``FileNotFoundError``, and :class:`EnvironmentProblem` naming the line for a file that was changed since.
    """
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                row = _row(json.loads(line.decode()))
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise EnvironmentProblem(
                    f"{path}:{number}: not a line of samples.jsonl: {error}",
                    hint="the file was changed after the job wrote it; restore it, or remove it to go on without bad cases",
                ) from error
            yield row


def _row(data: dict[str, Any]) -> EvaluatedRow:
    """Return a line's row. Raises ``TypeError``, ``KeyError`` or ``ValueError`` for another shape."""
    row = EvaluatedRow(**{**data, "flags": tuple(data["flags"]), "score": float(data["score"])})
    if not isfinite(row.score):
        raise ValueError(f"the score is {row.score}")
    texts = (*row[:4], *row.flags)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("row_id, prompt, answer, reference and flags are texts")
    "".join(map(str, texts)).encode()  # half a character (ValueError) could not be written down again
    return row


def without_reasoning(text: str) -> str:
    """Return ``text`` without its ``<think>`` parts, stripped and in Unicode's composed form (NFC).

    A part that was never opened (some chat templates open it in the prompt) ends at the last ``</think>``; one that was
    never closed is all that the model had to say, so nothing is left.
    """
    text = _REASONING.sub("", text)
    text = text.rpartition("</think>")[2].partition("<think>")[0]
    return unicodedata.normalize("NFC", text).strip()
