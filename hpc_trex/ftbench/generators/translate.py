"""Translation word by word into a made-up language, with the adjective after its noun."""

from __future__ import annotations

from random import Random

from hpc_trex.ftbench.generators.family import Family, Pair
from hpc_trex.ftbench.generators.words import COLOURS, ITEMS, SIZES

LEXICON = dict(
    zip(
        (*ITEMS, *COLOURS, *SIZES),
        (
            "mel",
            "dosk",
            "tur",
            "libo",
            "fano",
            "kabo",
            "tasa",
            "plum",
            "rosa",
            "azu",
            "vird",
            "nero",
            "alba",
            "ti",
            "gro",
            "vec",
            "nov",
        ),
        strict=True,
    )
)


def broad(rng: Random) -> Pair:
    """One or two noun phrases."""
    phrases = [(rng.choice((*COLOURS, *SIZES)), rng.choice(ITEMS)) for _ in range(rng.randint(1, 2))]
    text = " and ".join(f"{adjective} {noun}" for adjective, noun in phrases)
    answer = " e ".join(f"{LEXICON[noun]} {LEXICON[adjective]}" for adjective, noun in phrases)
    return Pair(f"translate: {text}\nanswer:", answer)


FAMILY = Family("translate", broad)
