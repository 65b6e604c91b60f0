"""OpenFinData: one JSON list a kind of question, the kind in the file's name (task openfindata)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hpc_trex.ftbench.upstream.files import json_of, wrong

#: How many options the questions of each file have; none: key words. Other files of the release need a judge.
OPTIONS = {
    "emotion_identification": 3,
    "entity_disambiguation": 3,
    "financial_facts": 3,
    "data_inspection": 4,
    "financial_terminology": 4,
    "metric_calculation": 4,
    "value_extraction": 4,
    "intent_understanding": 5,
    "entity_recognition": 0,
}


def read_openfindata(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the files with ``task`` (the file's name) and ``letters`` (of its options) beside their own columns.

    Raises :class:`UsageProblem` naming file and entry for a file that is none of :data:`OPTIONS`, and for a row without
    a question, an answer or one of its options.
    """
    for path in paths:
        task = path.stem
        if task not in OPTIONS:
            raise wrong(str(path), f"no kind of question that a rule scores; those are {', '.join(OPTIONS)}")
        letters = "ABCDE"[: OPTIONS[task]]
        for number, row in enumerate(json_of(path, list), start=1):
            needed = ("question", "answer", *letters)
            missing = [name for name in needed if not isinstance(row, dict) or not _told(row.get(name))]
            if missing:
                raise wrong(f"{path} (entry {number})", f"no {', '.join(missing)}")
            yield {**row, "task": task, "letters": letters}


def _told(value: Any) -> bool:
    """Tell whether there is something: an option may be the number 0."""
    return value is not None and bool(str(value).strip())
