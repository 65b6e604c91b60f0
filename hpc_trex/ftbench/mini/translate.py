"""Translation both ways between English and the corpus's made-up language, of longer phrases than the corpus has.

In the other language everything that describes a thing follows it, in reverse order: ``2 small red lamp`` → ``mel rosa ti 2``.
"""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.translate import LEXICON
from hpc_trex.ftbench.generators.words import COLOURS, ITEMS, SIZES

BACK = {foreign: english for english, foreign in LEXICON.items()}
INTO, FROM = "translate", "translate from"
#: The word between phrases.
AND = {INTO: ("and", "e"), FROM: ("e", "and")}


def _phrase(rng: Random) -> list[str]:
    """English words: a thing, with one to three words before it."""
    words = [str(rng.randint(2, 9)), rng.choice(SIZES), rng.choice(COLOURS)]
    kept = sorted(rng.sample(range(3), rng.choice((1, 2, 2, 3))))
    return [*(words[place] for place in kept), rng.choice(ITEMS)]


def _into(words: list[str]) -> list[str]:
    return [LEXICON.get(word, word) for word in reversed(words)]


def task(rng: Random) -> Pair:
    """One or two phrases in either direction."""
    english = [_phrase(rng) for _ in range(rng.randint(1, 2))]
    foreign = [_into(words) for words in english]
    way = rng.choice((INTO, FROM))
    asked, answer = (english, foreign) if way == INTO else (foreign, english)
    here, there = AND[way]
    text = f" {here} ".join(map(" ".join, asked))
    return Pair(f"{way}: {text}\nanswer:", f" {there} ".join(map(" ".join, answer)))


def wrong(rng: Random, pair: Pair) -> str:
    """A thing or a word changed for another of its kind, or a phrase in the order of the language it came from."""
    word_of = LEXICON if pair.prompt.startswith(f"{INTO}:") else {english: english for english in LEXICON}
    words = pair.answer.split()
    if rng.random() < 0.5:
        joint = next((word for word in ("e", "and") if word in words), "")
        phrases = pair.answer.split(f" {joint} ") if joint else [pair.answer]
        place = rng.randrange(len(phrases))
        phrases[place] = " ".join(reversed(phrases[place].split()))
        return f" {joint} ".join(phrases)
    kinds = [[word_of[word] for word in kind] for kind in (ITEMS, COLOURS, SIZES)]
    places = [place for place, word in enumerate(words) if any(word in kind for kind in kinds)]
    place = rng.choice(places)
    kind = next(kind for kind in kinds if words[place] in kind)
    words[place] = rng.choice([word for word in kind if word != words[place]])
    return " ".join(words)


FAMILY = Family("translate-both", task, task, wrong)
