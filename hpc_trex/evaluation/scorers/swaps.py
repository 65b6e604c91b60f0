"""Two edits around kept signs that change places are one edit: the word order was wrong (:mod:`..edits`)."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpc_trex.evaluation.scorers.edits import Step


#: Signs that count as punctuation. Not among them: the full stop and the opening quotation mark of Chinese (U+3002, U+300A).
MARKS = frozenset(
    string.punctuation
    + "！？｡＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟–—‘'‛“”„‟…‧"  # noqa: RUF001 - what they are
)


def merge_swaps(steps: list[Step], source: str, target: str) -> list[Step]:
    """Return the edits (no kept signs) with "replaced, kept, replaced" and "deleted, kept, inserted" as one each, where both
    sides have the same words or nearly so.
    """  # fmt: skip
    found: list[Step] = []
    place = 0
    while place < len(steps):
        three = steps[place : place + 3]
        if len(three) == 3 and _swap(three, source, target):
            found.append(three[0]._replace(kind="T", b=three[2].b, d=three[2].d))
            place += 3
            continue
        if steps[place].kind != "M":
            found.append(steps[place])
        place += 1
    return found


def _swap(three: list[Step], source: str, target: str) -> bool:
    first, middle, last = three
    if (first.kind, middle.kind, last.kind) == ("S", "M", "S"):
        words = [
            source[first.a : first.b], target[last.c : last.d], target[first.c : first.d], source[last.a : last.b],
        ]  # fmt: skip
        if min(map(len, words)) == 1:
            return words[0] == words[1] and words[2] == words[3]
        return _nearly(words[0], words[1]) and _nearly(words[2], words[3])
    if {first.kind, last.kind} != {"D", "I"} or middle.kind not in "MT":
        return False
    gone, come = (first, last) if first.kind == "D" else (last, first)
    return _moved(source[gone.a : gone.b], target[come.c : come.d])


def _moved(one: str, other: str) -> bool:
    long, short = (one, other) if len(one) >= len(other) else (other, one)
    if any(len(word) == 1 and word in MARKS for word in (long, short)) or len(long) - len(short) > 1:
        return False
    if len(short) == 1:
        return long == short
    return _nearly(long, short) or (len(long) == len(short) and short in long + long)


def _nearly(one: str, other: str) -> bool:
    """Tell whether at most one sign is replaced, inserted or deleted between two words."""
    long, short = (one, other) if len(one) >= len(other) else (other, one)
    if len(long) - len(short) > 1:
        return False
    same = 0
    while same < len(short) and long[same] == short[same]:
        same += 1
    return long[same + 1 :] == short[same + (len(long) == len(short)) :]
