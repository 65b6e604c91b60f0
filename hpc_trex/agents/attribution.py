"""Why a bad row is bad, by rule: from its flags, its texts and the task card (docs/diagnosis.md has the rules in words).

No model is asked. What rules cannot tell is called ``content``: knowledge and reasoning are told apart only where the
card's ``capabilities`` name one of the two.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

from hpc_trex.agents.protocol import Sample
from hpc_trex.errors import UsageProblem
from hpc_trex.models import TaskCard
from hpc_trex.models.cases import CaseGroup
from hpc_trex.samples import without_reasoning
from hpc_trex.site import site

#: An answer declines within so many characters, or not at all.
REFUSAL_CHARS = 120

#: Letters that an answer and its reference must have before their scripts are compared, and words before their stop-words are.
LEAST_LETTERS = 4
LEAST_WORDS = 6
LEAST_HITS = 2

#: Capabilities of a task card that say what a wrong answer lacks.
CAPABILITIES: dict[str, CaseGroup] = {
    **dict.fromkeys(
        ("reasoning", "math", "arithmetic", "logic", "planning", "code", "coding", "math-logic", "complex-decisions"),
        "reasoning",
    ),
    **dict.fromkeys(("knowledge", "facts", "factual", "trivia"), "knowledge"),
}

#: Metrics that read a label, letters or an object out of the answer: where none was found they flag it.
READ = (
    "accuracy",
    "accuracy_norm",
    "macro_f1",
    "json_fields",
    "cs_bench",
    "event_order",
    "label_set_f1",
    "openfindata",
)

_WORDS = re.compile(r"[^\W\d_]+")
#: Scripts as the names of Unicode's characters begin; kana and Chinese signs are told apart, see :func:`script`.
_SCRIPTS = (
    "LATIN",
    "CJK",
    "HIRAGANA",
    "KATAKANA",
    "HANGUL",
    "CYRILLIC",
    "GREEK",
    "ARABIC",
    "HEBREW",
    "DEVANAGARI",
    "THAI",
)


def attributor(card: TaskCard) -> Callable[[Sample], CaseGroup]:
    """Return what tells the group of a bad row of this task. The first rule that holds decides."""
    last = content_group(card)

    def group(row: Sample) -> CaseGroup:
        answer = without_reasoning(row.answer)
        reference = without_reasoning(row.reference)
        if "prompt_cut" in row.flags:
            return "truncation"
        if refuses(answer) and not refuses(reference):
            return "refusal"
        unread = bool({"empty", "unparsable", "invalid_json"} & set(row.flags))
        if "truncated" in row.flags and (unread or card.metric.name not in READ):
            return "truncation"
        if other_language(answer, reference) and (unread or card.metric.name not in READ):
            return "language"
        if unread or not answer or only_the_form_differs(answer, reference):
            return "format"
        return last

    return group


def content_group(card: TaskCard) -> CaseGroup:
    """Return what a wrong answer in good form lacks: what the card's capabilities name, ``content`` where they name
    neither or both.
    """
    named = {CAPABILITIES[name] for name in map(str.casefold, card.capabilities) if name in CAPABILITIES}
    return named.pop() if len(named) == 1 else "content"


def refuses(answer: str) -> bool:
    """Tell whether the answer begins by declining, with a phrase of ``agents/refusals.txt``."""
    head = answer[:REFUSAL_CHARS].casefold().replace("\u2019", "'")
    return any(match.search(head) for match in _refusals(site("agents", "refusals.txt")))


@cache
def _refusals(path: Path) -> list[re.Pattern[str]]:
    """Return a pattern for each phrase: at the edges of words, where the script parts words."""
    lines = [line.strip().casefold() for line in path.read_text(encoding="utf-8").splitlines()]
    phrases = [line for line in lines if line and not line.startswith("#")]
    return [re.compile(rf"(?<!\w){re.escape(one)}(?!\w)" if one.isascii() else re.escape(one)) for one in phrases]


def other_language(answer: str, reference: str) -> bool:
    """Tell whether the answer is in another language than the reference, by script, else by stop-words.

    False where either text is too short to tell.
    """
    found, wanted = script(answer), script(reference)
    if found and wanted and found != wanted:
        return True
    if found == wanted == "LATIN":
        here, there = latin_language(answer), latin_language(reference)
        return bool(here and there and here != there)
    return False


def script(text: str) -> str:
    """Return the script of most letters of a text: ``LATIN``, ``CJK`` ...; empty where it has too few letters to tell.

    A text with kana is Japanese, however many Chinese signs it has. A sign that is a word counts as three letters.
    """
    counts: Counter[str] = Counter()
    for sign in text[:2000]:
        if sign.isalpha():
            name = "LATIN" if sign.isascii() else unicodedata.name(sign, "").partition(" ")[0]
            counts[name if name in _SCRIPTS else "OTHER"] += 3 if name == "CJK" else 1
    kana = counts["HIRAGANA"] + counts["KATAKANA"]
    if kana and kana + counts["CJK"] > counts.total() / 2:
        return "KANA" if kana + counts["CJK"] >= LEAST_LETTERS else ""
    name, count = counts.most_common(1)[0] if counts else ("", 0)
    return name if counts.total() >= LEAST_LETTERS and count > 0.6 * counts.total() else ""


def latin_language(text: str) -> str:
    """Return the language of a text in Latin script by ``agents/stopwords.toml``; empty where no list clearly leads."""
    words = _WORDS.findall(text[:2000].casefold())
    if len(words) < LEAST_WORDS:
        return ""
    lists = _stopwords(site("agents", "stopwords.toml"))
    hits = sorted(((sum(word in own for word in words), name) for name, own in lists.items()), reverse=True)
    (first, name), second = hits[0], hits[1][0] if len(hits) > 1 else 0
    return name if first >= LEAST_HITS and first >= 1.5 * second else ""


@cache
def _stopwords(path: Path) -> dict[str, frozenset[str]]:
    try:
        lists = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: frozenset(map(str.casefold, words)) for name, words in lists.items()}
    except (tomllib.TOMLDecodeError, TypeError, AttributeError) as error:
        raise UsageProblem(
            f"{path}: not lists of words by language: {error}",
            hint="correct the file, or remove it to use the shipped one",
        ) from error


def only_the_form_differs(answer: str, reference: str) -> bool:
    """Tell whether the answer is the reference but for case, blanks and marks, or ends with it after some words:
    ``**Yes**`` for ``yes``, ``The answer is 42.`` for ``42``.
    """
    found, wanted = _bare(answer), _bare(reference)
    if not wanted or found == wanted:
        return bool(wanted)
    before = found.removesuffix(wanted)
    return before != found and before.rstrip(_EDGES).endswith(_LEADS)


#: Words after which an answer states its result.
_LEADS = (
    "answer is",
    "answer",
    "result is",
    "result",
    "solution is",
    "solution",
    "label is",
    "label",
    "output is",
    "output",
)

#: Marks around an answer that change nothing of what it says. A sign before a number does.
_EDGES = " .,:;!?\"'`*_()[]{}#"


def _bare(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(_EDGES)
