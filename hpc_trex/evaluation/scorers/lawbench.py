"""LawBench: 20 tasks of Chinese law, each with its own rule; the column ``task`` (``1-1`` to ``3-8``) says which.

Read from ``evaluation/`` of open-compass/LawBench at e30981bb (``evaluation_functions/*.py``, ``utils/*.py``; the same
rules stand in open-compass/opencompass) and restated here. Differences, with reasons:

- an empty answer scores 0 in every task. There it is replaced by a filler word in the ROUGE tasks (the same but for an
  accident), and is right in 2-6 where nothing is to be found (no such row is known);
- 2-1: see :mod:`hpc_trex.evaluation.scorers.edits`. F0.5 is of the summed edits of all rows, as there (``AGGREGATES``);
- 3-1, 3-4, 3-5: a number of more than twelve digits is read by its first twelve (there it can end the program);
- rows that the rule leaves out (2-2 with "赔偿", 3-4 and 3-5 with death or life sentences) are no rows here
  (:mod:`hpc_trex.ftbench.upstream.lawbench`), so that what remains is a mean as there;
- what upstream counts as an abstention is the flag ``unparsable``; its rate has all rows below the line, there too.

A row's score lies between 0 and 1, but for 3-4 and 3-5: a term that is wrong by more than a factor of 216 is worth less than
nothing, there too.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import cache
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hpc_trex.errors import EnvironmentProblem, UsageProblem
from hpc_trex.evaluation.metrics import Judged
from hpc_trex.evaluation.scorers.edits import count_edits, edits, f_half
from hpc_trex.evaluation.scorers.lawbench_options import (
    ARGUMENTS,
    CHARGES,
    DISPUTES,
    ENTITIES,
    EVENTS,
    LETTERS,
    MARITAL,
    TOPICS,
)
from hpc_trex.models import MetricSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hpc_trex.evaluation.metrics import AnswerSet

    Rule = Callable[[str, str, str], Judged]

#: The largest log distance that is worth anything: 18 years in months, the longest term.
LONGEST = math.log(216)
EPSILON = 1e-10
#: 2-1: a correction is cut to so many signs more than the reference has.
MORE_SIGNS = 5
#: The narrow and the wide one.
COLONS = ":\uff1a"
DIGITS = 12


def judge_lawbench(answer: str, reference: str, _: MetricSpec, row: Mapping[str, Any]) -> Judged:
    """Judge an answer by the rule of the row's ``task``; 2-1 also needs its ``question``.

    Raises :class:`UsageProblem` for a task that LawBench does not have and a reference that its rule cannot read,
    :class:`EnvironmentProblem` where the ``law`` extra is not installed.
    """
    task = str(row.get("task", ""))
    rule = RULES.get(task)
    if rule is None:
        raise UsageProblem(f"LawBench has no task {task!r}", hint=f"the column task is one of {', '.join(RULES)}")
    return rule(answer, reference, str(row.get("question", "")))


def bring_together(answers: AnswerSet, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the score of one task's answers for each row of ``weights``: of 2-1 F0.5 of all edits, else the mean.

    The mean of rows also where tasks stand together, as of a card whose ``average`` is ``rows``.
    """
    import numpy as np

    if not answers.counts or not all(answers.counts):
        return np.asarray(weights @ np.asarray(answers.scores, dtype=np.float64) / weights.sum(axis=1))
    sums = weights @ np.asarray(answers.counts, dtype=np.int64)
    return np.asarray([f_half(*row) for row in sums.tolist()], dtype=np.float64)


# ---- what is asked of the extra -----------------------------------------------------------------------------------------


def _needs(error: ImportError) -> EnvironmentProblem:
    return EnvironmentProblem(f"LawBench's scores need {error.name}", hint='pip install "hpc-trex[law]"')


@cache
def _words() -> Any:
    """Return jieba's tokenizer. Its cache is a file that anybody may have put into the shared temporary folder: not ours."""
    try:
        import jieba
    except ImportError as error:
        raise _needs(error) from error
    jieba.setLogLevel("WARNING")
    tokenizer = jieba.Tokenizer()
    with TemporaryDirectory() as folder:
        tokenizer.tmp_dir = folder
        tokenizer.initialize()
    return tokenizer


@cache
def _rouge() -> Any:
    try:
        from rouge_chinese import Rouge
    except ImportError as error:
        raise _needs(error) from error
    return Rouge(metrics=["rouge-l"], stats=["f"])


def _arabic(text: str) -> str:
    """Return the text with Chinese numbers written in digits."""
    try:
        from cn2an import transform
    except ImportError as error:
        raise _needs(error) from error
    with warnings.catch_warnings():  # it warns of words that look like a number and are none, and leaves them
        warnings.simplefilter("ignore")
        return str(transform(text, "cn2an"))


# ---- the rules ----------------------------------------------------------------------------------------------------------


def _rouge_l(answer: str, reference: str, _: str) -> Judged:
    words = _words()
    wanted = reference.replace("答案:", "")
    found = " ".join(words.cut(answer))
    found = found if found.strip() else "无内容"
    score = _rouge().get_scores([found], [" ".join(words.cut(wanted))])[0]["rouge-l"]["f"]
    return Judged(float(score), answer, wanted)


def _only(options: tuple[str, ...], read: Callable[[str], str]) -> Rule:
    """Right if the reference's option stands in the text and no other; which letter a word begins with plays no part."""

    def rule(answer: str, reference: str, _: str) -> Judged:
        wanted = _known(read(reference), options, reference)
        named = [option for option in options if option in answer]
        if not named:
            return Judged(0.0, "", wanted, ("unparsable",))
        right = named == [wanted]
        return Judged(float(right), "、".join(named), wanted, () if right else ("other_label",))

    return rule


def _set(options: tuple[str, ...], read: Callable[[str], list[str]]) -> Rule:
    """F1 of the options that stand anywhere in the text, also inside another one, against the reference's."""

    def rule(answer: str, reference: str, _: str) -> Judged:
        return _f1([option for option in options if option in answer], read(reference))

    return rule


def _f1(named: Collection[Any], wanted: Collection[Any]) -> Judged:
    found, right = set(named), set(wanted)
    both = len(found & right)
    score = 2 * both / (len(found) + len(right)) if found or right else 0.0
    shown = "、".join(map(str, dict.fromkeys(named)))
    return Judged(score, shown, "、".join(map(str, wanted)), () if found else ("unparsable",))


def _articles(answer: str, reference: str, _: str) -> Judged:
    """F1 of articles of the criminal law: the first number of each piece between "、"; paragraphs are not asked for."""
    wanted = _between("法条:刑法第", "条")(reference).replace("条", "").split("、")
    if not all(number.isdecimal() for number in wanted):
        raise _unreadable(reference)
    named = []
    for piece in answer.split("、"):
        text = re.sub("第.*?款", "", piece.replace("万元", "元"))
        found = re.search(r"\d+", _arabic(re.sub("第(.*?)条", r"\1", text)))
        if found is not None:
            named.append(_whole(found[0]))
    return _f1(named, list(map(int, wanted)))


def _months(answer: str, reference: str, _: str) -> Judged:
    """How near a prison term is: 1 - |ln((wanted + 1) / (found + 1))| / ln 216; the first number of months, else of years."""
    wanted = re.fullmatch(r"刑期:(\d+)个月", reference)
    if wanted is None:
        raise _unreadable(reference)
    text = _arabic(answer)
    months = re.findall(r"(\d+)个月", text) + re.findall(r"(\d+)月", text)
    years = re.findall(r"(\d+)年", text)
    if not months and not years:
        return Judged(0.0, "", wanted[1], ("unparsable",))
    term = _whole(months[0]) if months else _whole(years[0]) * 12
    distance = abs(math.log(int(wanted[1]) + 1) - math.log(term + 1))
    return Judged((LONGEST - distance) / LONGEST, str(term), wanted[1])


def _amount(answer: str, reference: str, _: str) -> Judged:
    """Right if the sum of money stands among the numbers of the text."""
    wanted = re.fullmatch(r"上文涉及到的犯罪金额:(\d+\.?\d*)元。", reference)
    if wanted is None:
        raise _unreadable(reference)
    numbers = re.findall(r"\d+\.?\d*", answer)
    if not numbers:
        return Judged(0.0, "", wanted[1], ("unparsable",))
    right = float(wanted[1]) in map(float, numbers)
    return Judged(float(right), wanted[1] if right else numbers[-1], wanted[1])


def _passage(answer: str, reference: str, _: str) -> Judged:
    wanted = reference.replace("回答:", "")
    return Judged(_shared(wanted, answer), answer, wanted)


def _entities(answer: str, reference: str, _: str) -> Judged:
    """Soft F1 of entities: how much of each reference's text an answer's has. One kind stands on one line, before a colon."""
    parts = [part.split(":") for part in reference.split(";") if part.strip()]
    if any(len(part) == 1 for part in parts):
        raise _unreadable(reference)
    wanted = {part[0]: part[1] for part in parts}
    found = {}
    for kind in ENTITIES:
        for place in re.finditer(kind, answer):
            end = place.end()
            if end < len(answer) - 2 and answer[end] in COLONS:
                text = re.split("[\n ]", answer[end + 1 :].strip())[0].strip()
                if text not in ("无", "未提及"):
                    found[kind] = text
    if not wanted:
        return Judged(float(not found), "", "")
    hits = sum(_shared(wanted[kind], text) for kind, text in found.items() if kind in wanted)
    shown = ";".join(f"{kind}:{text}" for kind, text in found.items())
    return Judged(_soft_f1(hits, len(found), len(wanted)), shown, reference, () if found else ("unparsable",))


def _triggers(answer: str, reference: str, _: str) -> Judged:
    """Soft F1 of words between ";": the first of the answer against the first of the reference, and so on."""
    wanted, found = reference.split(";"), answer.split(";")
    hits = sum(_shared(right, word) for right, word in zip(wanted, found, strict=False))
    return Judged(_soft_f1(hits, len(found), len(wanted)), answer, reference)


def _correction(answer: str, reference: str, question: str) -> Judged:
    """F0.5 of the edits that the answer makes to the sentence, against those of the reference."""
    sentence = re.sub("[\n\t]", "", question.split("\n", maxsplit=1)[0])
    wanted = re.sub("[\n\t]", "", reference)
    found = re.sub("[\n\t]", "", answer)[: len(reference) + MORE_SIGNS] or "无内容"
    counts = count_edits(edits(sentence, found), edits(sentence, wanted))
    return Judged(f_half(*counts), found if answer else "", wanted, counts=counts)


def _shared(wanted: str, found: str) -> float:
    """F1 of two texts as bags of letters and digits, in lower case; 1 where neither has any."""
    one, other = (
        Counter(sign for sign in text.lower() if sign.isdigit() or sign.isalpha()) for text in (wanted, found)
    )
    if not one or not other:
        return float(one == other)
    return 2 * (one & other).total() / (one.total() + other.total())


def _soft_f1(hits: float, found: int, wanted: int) -> float:
    precision, recall = hits / found if found else 0.0, hits / wanted if wanted else 0.0
    return 2 * precision * recall / (precision + recall + EPSILON)


def _whole(digits: str) -> int:
    return int(digits[:DIGITS])


# ---- how references are written -----------------------------------------------------------------------------------------


def _between(head: str, tail: str = "") -> Callable[[str], str]:
    """Return what a reference has between a head and a tail."""

    def read(reference: str) -> str:
        if not reference.startswith(head) or not reference.endswith(tail):
            raise _unreadable(reference)
        return reference[len(head) : len(reference) - len(tail)]

    return read


def _letter(head: str) -> Callable[[str], str]:
    return lambda reference: _between(head)(reference)[:1]


def _listed(head: str, tail: str, sign: str) -> Callable[[str], list[str]]:
    return lambda reference: _between(head, tail)(reference).split(sign)


def _known(word: str, options: tuple[str, ...], reference: str) -> str:
    if word not in options:
        raise _unreadable(reference)
    return word


def _unreadable(reference: str) -> UsageProblem:
    return UsageProblem(
        f"LawBench's rule cannot read the reference answer {reference[:80]!r}",
        hint="correct prompt.answer or the rows of the task card: they must be the answers of LawBench as they are",
    )


RULES: dict[str, Rule] = {
    "1-1": _rouge_l,
    "1-2": _only(LETTERS, _letter(f"正确答案{COLONS[1]}")),
    "2-1": _correction,
    "2-2": _only(DISPUTES, _between(f"争议焦点类别{COLONS[1]}", "。")),
    "2-3": _set(MARITAL, _listed("类别:", "。", "、")),
    "2-4": _only(TOPICS, str),
    "2-5": _passage,
    "2-6": _entities,
    "2-7": _rouge_l,
    "2-8": _only(ARGUMENTS, _letter("[正确答案]")),
    "2-9": _set(EVENTS, _listed("", "", ";")),
    "2-10": _triggers,
    "3-1": _articles,
    "3-2": _rouge_l,
    "3-3": _set(CHARGES, _listed("罪名:", "", ";")),
    "3-4": _months,
    "3-5": _months,
    "3-6": _only(LETTERS, _letter("正确答案:")),
    "3-7": _amount,
    "3-8": _rouge_l,
}
