"""Choices and key words in Chinese on finance (task openfindata).

Read from OpenCompass at 378a0bc3 (``opencompass/datasets/OpenFinData.py``) and 3ce9b0a4 (its configuration
``OpenFinData_gen_46dedb.py``, and ``last_capital_postprocess`` of ``text_postprocessors.py``), restated: of a choice the last
capital letter of the whole text is the answer; of the entities (``entity_recognition``) every part of the reference between
``\u3001`` must occur in the text as it stands.

Differences: a reference of several letters, which no last capital can equal, is compared with the capitals of the text's last
line that is not blank, in any order. Text is in Unicode's composed form (NFC) on both sides. Reasoning is cut before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import Judged
from hpc_trex.models import MetricSpec

TASK = "task"
"""The column that holds the name of the question's file."""
KEY_WORDS = "entity_recognition"
BETWEEN = "\u3001"
_LETTERS = re.compile(rf"[A-Z](?:[{BETWEEN},\uff0c;\uff1b\s]*[A-Z])*")


def judge_openfindata(answer: str, reference: str, _: MetricSpec, row: Mapping[str, Any]) -> Judged:
    """Judge one answer: right or wrong; of key words ``hits`` is the part of them that occurs.

    A reference that no answer can equal makes every answer wrong, as upstream, and is flagged ``odd_reference``. Raises
    :class:`UsageProblem` for a card that does not keep the task.
    """
    if TASK not in row:
        raise UsageProblem(
            f"the scorer openfindata needs the column {TASK}", hint=f'keep = ["{TASK}"] in the task card'
        )
    if row[TASK] == KEY_WORDS:
        return _key_words(answer, reference)
    letters = _LETTERS.fullmatch(reference)
    odd = () if letters else ("odd_reference",)
    wanted = "".join(sorted(re.findall("[A-Z]", reference))) if letters else reference
    found = _capitals(answer) if letters and len(wanted) > 1 else _last_capital(answer)
    if not found:
        return Judged(0.0, "", wanted, ("unparsable", *odd))
    return Judged(1.0, found, wanted) if found == wanted else Judged(0.0, found, wanted, ("other_label", *odd))


def _key_words(answer: str, reference: str) -> Judged:
    wanted = reference.split(BETWEEN)
    found = [word for word in wanted if word in answer]
    return Judged(
        float(len(found) == len(wanted)), BETWEEN.join(found), reference, also=(("hits", len(found) / len(wanted)),)
    )


def _last_capital(text: str) -> str:
    """Return the last capital of any script: a Greek one at the end is an answer too, and a wrong one."""
    return next((sign for sign in reversed(text) if sign.isupper()), "")


def _capitals(text: str) -> str:
    last = text.rstrip().rpartition("\n")[2]
    return "".join(sorted(set(re.findall("[A-Z]", last))))
