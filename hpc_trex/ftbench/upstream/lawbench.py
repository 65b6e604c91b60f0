"""LawBench: 20 files, one a task, each a JSON list of ``instruction``, ``question`` and ``answer``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hpc_trex.ftbench.upstream.files import json_of, wrong

COLUMNS = ("instruction", "question", "answer")
#: Signs of a text by which two rows are known to be about the same case.
CASE_SIGNS = 200
#: What a question begins with before its text, and what follows the facts in 3-1, 3-4 and 3-5.
_HEAD = re.compile(r"^(事实|句子|文书|段落|场景)[:\uff1a]")
_AFTER_FACTS = "罪名:"


def read_lawbench(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rows of all tasks with two more columns: ``task`` (the file's name) and ``case``.

    ``case`` is the same for rows about the same text: 3-1, 3-4 and 3-5 ask three things about the same facts, and 3-3 and
    2-10 share some with them and with 2-9. Rows that LawBench's own scorers leave out are left out.
    """
    for path in paths:
        task = path.stem
        for number, row in enumerate(json_of(path, list), start=1):
            if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in COLUMNS):
                raise wrong(f"{path} (entry {number})", f"has not the texts {', '.join(COLUMNS)}")
            if not left_out(task, row["answer"]):
                yield {"task": task, **{name: row[name] for name in COLUMNS}, "case": case(row["question"])}


def left_out(task: str, answer: str) -> bool:
    """Tell whether LawBench's scorer passes over a row ("data imperfection")."""
    if task == "2-2":
        return answer[7:-1] == "赔偿"  # after "争议焦点类别"
    return task in ("3-4", "3-5") and ("死刑" in answer or "无期" in answer)


def case(question: str) -> str:
    """Return 16 hex digits that stand for the text a question is about: its first signs without spaces."""
    text = "".join(_HEAD.sub("", question.strip()).split(_AFTER_FACTS, maxsplit=1)[0].split())
    return hashlib.sha256(text[:CASE_SIGNS].encode("utf-8", "surrogatepass")).hexdigest()[:16]
