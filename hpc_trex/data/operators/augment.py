"""The operator that adds changed copies of rows: small changes in the prompt under which the answer stays right."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hpc_trex.data.operators.base import Context, Outcome, column, from_rows, numbered, texts
from hpc_trex.data.seeds import choose
from hpc_trex.ftbench.rows import Row
from hpc_trex.models.operators import Augment

if TYPE_CHECKING:
    from datasets import Dataset

_OPTION = re.compile(r"^(?P<before>[ \t]*\(?)(?P<letter>[A-Z])(?P<after>[).:][ \t]+)(?P<text>\S.*?)[ \t]*$")
_LETTER = re.compile(r"^(?P<before>\(?)(?P<letter>[A-Z])(?P<after>[).:]?)(?:[ \t]+(?P<text>\S.*))?$")
#: Shorter words are left alone: a typo would make other words of them.
SHORTEST = 4


def augment(step: Augment, data: Dataset, context: Context) -> Outcome:
    """Add, or with ``replace`` put in its place, a changed copy of each drawn row that the change changes."""
    ids = column(data, "row_id")
    drawn = set(choose(context.seed, ids, max(1, round(step.fraction * len(ids)))))
    taken, made = set(ids), 0

    def rows() -> Iterator[Row]:
        nonlocal made
        for place, row in enumerate(Row(*values) for values in texts(data, *Row._fields)):
            rng = random.Random(f"{context.seed}/{row.row_id}")  # noqa: S311 - repeatable, hides nothing
            new = _changed(step, row, rng) if place in drawn else row
            if new == row:
                yield row
                continue
            made += 1
            if step.replace:
                yield new
            else:
                yield from (row, new._replace(row_id=numbered(row.row_id, taken)))

    return Outcome(from_rows(rows(), context.scratch), notes={"drawn": len(drawn), "changed": made})


def _changed(step: Augment, row: Row, rng: random.Random) -> Row:
    if step.kind == "choices":
        return shuffled(row, rng)
    if step.kind == "typos":
        return row._replace(prompt=mistyped(row.prompt, step.strength, rng))
    return row._replace(prompt=rng.choice((str.lower, str.upper))(row.prompt))


def mistyped(text: str, strength: float, rng: random.Random) -> str:
    """Return a text with a slip in about ``strength`` of its words of letters: two swapped, one dropped, one doubled.

    The first letter of a word stays, and so do numbers and signs: they carry what is asked.
    """

    def slip(match: re.Match[str]) -> str:
        word = match[0]
        if rng.random() >= strength:
            return word
        at = rng.randrange(1, len(word) - 1)
        match rng.randrange(3):
            case 0:
                return f"{word[:at]}{word[at + 1]}{word[at]}{word[at + 2 :]}"
            case 1:
                return word[:at] + word[at + 1 :]
        return word[:at] + word[at] + word[at:]

    return re.sub(rf"\b[^\W\d_]{{{SHORTEST},}}\b", slip, text)


def shuffled(row: Row, rng: random.Random) -> Row:
    """Return a row with its options in another order and the answer's letter changed with them.

    Options are lines that begin with A, B, C ... in turn. A row is left as it is where it has none, or where its answer is
    neither one of their letters nor one of their texts: it may speak of an option by its letter.
    """
    lines = row.prompt.split("\n")
    found = [(number, match) for number, line in enumerate(lines) if (match := _OPTION.match(line))]
    letters = [match["letter"] for _, match in found]
    options = [match["text"] for _, match in found]
    if len(found) < 2 or letters != [chr(ord("A") + number) for number in range(len(found))]:
        return row
    order = list(range(len(found)))
    rng.shuffle(order)
    answer = _answered(row.answer.strip(), options, order)
    if answer is None:
        return row
    for (number, match), old in zip(found, order, strict=True):
        lines[number] = f"{match['before']}{match['letter']}{match['after']}{options[old]}"
    return row._replace(prompt="\n".join(lines), answer=answer)


def _answered(answer: str, options: list[str], order: list[int]) -> str | None:
    """Return the answer under the new order of options; None where it is not one of them."""
    if answer in options:
        return answer
    match = _LETTER.match(answer)
    place = ord(match["letter"]) - ord("A") if match else len(options)
    if match is None or place >= len(options) or match["text"] not in (None, options[place]):
        return None
    rest = answer[match.end("letter") :]
    return f"{match['before']}{chr(ord('A') + order.index(place))}{rest}"
