"""oMeS, the score of oMeBench: how much of a reaction's mechanism a model has right, step by step.

The rule was read from ``scripts/utils_eval.py`` and ``scripts/run.py`` of skylarkie/oMeBench (MIT) at commit 2b56579d, and is
said here in our own words. A step is a subtype and the SMILES of its intermediate; each right step has a weight, and the
weights of a mechanism sum to 1. The answer's steps are aligned with the right ones (Needleman-Wunsch, nothing is paid for a
gap) so that first ``S_total``, then ``S_partial`` is the highest that any alignment gives; then matches count more than pairs
of other subtype, these more than gaps.

- ``S_total``: the weights of aligned steps of the same subtype whose intermediates are the same molecule;
- ``S_partial``: the weights of aligned steps of the same subtype, times their intermediates' Tanimoto similarity (Morgan
  fingerprints, radius 2, 2,048 bits) where that is 0.6 or more. The score of the card;
- ``V``: the part of the answer's intermediates that are molecules;
- ``L``: aligned steps of the same subtype, whatever their molecules, over the right steps.

Each is rounded to two decimals before the mean over reactions, as upstream does. An answer that is no list of steps, or has a
step without subtype or intermediate, scores 0 in all four.

Differences, with reasons: where the text as a whole is no JSON, the outermost brackets in it are tried: upstream does that for
models without a chat template only, and words around the list are no chemistry; upstream's cut at the words "is :" is not
needed then. Steps without a weight (those of Silver) count alike. A list in a JSON object is found under ``mechanism``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import Judged
from hpc_trex.evaluation.scorers import molecules
from hpc_trex.ftbench.molecules import canonical
from hpc_trex.models import MetricSpec

LEAST_SIMILARITY = 0.6
MATCH, OTHER_SUBTYPE, GAP = 3, 2, 1
"""How an alignment goes on, the better ones higher."""
_PENALTY = 1e-6
_LIST = re.compile(r"\[.*\]", re.DOTALL)
NAMES = ("S_total", "S_partial", "V", "L")


class Step(NamedTuple):
    """One step of a mechanism; ``weight`` of a right one."""

    subtype: str
    smiles: str
    weight: float = 0.0


class Scores(NamedTuple):
    """The four scores of one mechanism, each 0 to 1."""

    total: float
    partial: float
    valid: float
    logic: float


def judge_omes(answer: str, reference: str, spec: MetricSpec, row: Mapping[str, Any]) -> Judged:
    """Judge the mechanism in ``answer`` against the column ``mechanism`` of ``row``.

    The score is ``S_partial``, or what the option ``score`` names; all four are in ``also``. Flags ``invalid_json`` and, of a
    row whose mechanism is none, ``odd_reference``. Raises :class:`UsageProblem` for a card that does not keep the column.
    """
    if "mechanism" not in row:
        raise UsageProblem("the metric omes needs the column mechanism", hint="add it to metric.keep of the task card")
    right, steps = _right_steps(row["mechanism"]), written(answer)
    if steps is None or not right:
        said = {"invalid_json": bool(answer) and steps is None, "odd_reference": not right}
        flags = tuple(name for name, holds in said.items() if holds)
        return Judged(0.0, "", reference, flags, tuple((name, 0.0) for name in NAMES))
    scores = dict(zip(NAMES, compared(right, steps), strict=True))
    shown = json.dumps([step[:2] for step in steps], ensure_ascii=False)
    return Judged(scores[str(spec.options.get("score", "S_partial"))], shown, reference, also=tuple(scores.items()))


def written(text: str) -> list[Step] | None:
    """Return the steps that an answer holds; None where it holds no list of them, or one that is not whole."""
    if "[ANSWER]" in text:
        text = text.partition("[ANSWER]")[2].partition("[ANSWER]")[0].partition("[/ANSWER]")[0].strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json\n").removeprefix("JSON\n").strip()
    listed = _LIST.search(text)
    for spelling in (text, listed.group() if listed else ""):
        try:
            value = json.loads(spelling)
        except (ValueError, RecursionError):
            continue
        return _steps(value.get("mechanism") if isinstance(value, dict) else value)
    return None


def _steps(value: Any) -> list[Step] | None:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return None
    pairs = [(one.get("subtype"), one.get("intermediate_smiles")) for one in value]
    if not all(isinstance(text, str) for pair in pairs for text in pair):
        return None
    return [Step(str(subtype), str(smiles)) for subtype, smiles in pairs]


def _right_steps(mechanism: Any) -> list[Step]:
    """Return the steps of a row with their weights; none where it has no mechanism."""
    steps = _steps(mechanism)
    if not steps:
        return []
    weights = [one.get("step_weight") for one in mechanism]
    if not all(isinstance(weight, int | float) for weight in weights) or sum(weights) <= 0:
        weights = [1 / len(steps)] * len(steps)  # of Silver and Template, which have none, or zeros
    return [step._replace(weight=float(weight)) for step, weight in zip(steps, weights, strict=True)]


class _Cell(NamedTuple):
    """The best alignment of some first right steps with some first steps of an answer."""

    total: float
    partial: float
    how: int
    """:data:`MATCH`, :data:`OTHER_SUBTYPE` or :data:`GAP`: its last move."""
    penalty: float
    matches: int


def compared(right: Sequence[Step], steps: Sequence[Step]) -> Scores:
    """Return the four scores of an answer's steps against the right ones (at least one)."""
    best = _aligned(right, steps)
    valid = sum(bool(canonical(step.smiles)) for step in steps) / max(1, len(steps))
    logic = best.matches / len(right)
    return Scores(*(round(value, 2) for value in (best.total, best.partial, valid, logic)))


def _aligned(right: Sequence[Step], steps: Sequence[Step]) -> _Cell:
    """Return the best alignment, row by row of the usual table."""
    above = [_Cell(0.0, 0.0, GAP, -_PENALTY * place, 0) for place in range(len(steps) + 1)]
    for number, wanted in enumerate(right, start=1):
        line = [_Cell(0.0, 0.0, GAP, -_PENALTY * number, 0)]
        for place, step in enumerate(steps, start=1):
            # The order decides between equals: a right step left out, a step of the answer left out, a pair.
            line.append(max(_gap(above[place]), _gap(line[-1]), _pair(above[place - 1], wanted, step), key=_worth))
        above = line
    return above[-1]


def _worth(cell: _Cell) -> tuple[float, float, int, float]:
    return cell[:4]


def _gap(before: _Cell) -> _Cell:
    return before._replace(how=GAP, penalty=before.penalty - _PENALTY)


def _pair(before: _Cell, wanted: Step, step: Step) -> _Cell:
    if wanted.subtype != step.subtype:
        return before._replace(how=OTHER_SUBTYPE, penalty=before.penalty - _PENALTY)
    near = molecules.similarity(wanted.smiles, step.smiles)
    spelled = canonical(wanted.smiles)
    return _Cell(
        before.total + (wanted.weight if spelled and spelled == canonical(step.smiles) else 0.0),
        before.partial + (wanted.weight * near if near >= LEAST_SIMILARITY else 0.0),
        MATCH,
        before.penalty,
        before.matches + 1,
    )
