"""Mechanisms are scored as oMeBench scores them: its rule, said once more here, on the same predictions.

The restatement follows ``scripts/utils_eval.py`` of skylarkie/oMeBench (2b56579d), without the code under test.
"""

from __future__ import annotations

import json
import math
import random

import pytest
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import AllChem

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import judge
from hpc_trex.evaluation.scorers.omes import Step, compared
from hpc_trex.ftbench.molecules import canonical
from hpc_trex.models import MetricSpec

OMES = MetricSpec(name="omes")


def old_omes(gold: list[Step], pred: list[Step]) -> tuple[float, float, float, float]:
    """``oMeS`` of upstream: three tables and a trace, walked back for L."""
    rank = {"match": 3, "type_mismatch": 2, "skip_gold": 1, "skip_pred": 1}
    total, part, fine, trace = {(0, 0): 0.0}, {(0, 0): 0.0}, {(0, 0): 0.0}, {}
    for i in range(1, len(gold) + 1):
        total[i, 0], part[i, 0], fine[i, 0], trace[i, 0] = 0.0, 0.0, fine[i - 1, 0] - 1e-6, "skip_gold"
    for j in range(1, len(pred) + 1):
        total[0, j], part[0, j], fine[0, j], trace[0, j] = 0.0, 0.0, fine[0, j - 1] - 1e-6, "skip_pred"
    for i, want in enumerate(gold, start=1):
        for j, step in enumerate(pred, start=1):
            same, near = 0.0, 0.0
            if want.subtype == step.subtype:
                left, right = Chem.MolFromSmiles(want.smiles), Chem.MolFromSmiles(step.smiles)
                if left and right and want.smiles and step.smiles:
                    ours, theirs = Chem.MolToSmiles(left), Chem.MolToSmiles(right)
                    same = want.weight * (ours == theirs != "")
                    alike = DataStructs.TanimotoSimilarity(
                        *(AllChem.GetMorganFingerprintAsBitVect(x, 2, 2048) for x in (left, right))
                    )
                    near = want.weight * (0.0 if alike < 0.6 else alike)
            move = "match" if want.subtype == step.subtype else "type_mismatch"
            ways = [
                (total[i - 1, j], part[i - 1, j], fine[i - 1, j] - 1e-6, "skip_gold"),
                (total[i, j - 1], part[i, j - 1], fine[i, j - 1] - 1e-6, "skip_pred"),
                (
                    total[i - 1, j - 1] + same,
                    part[i - 1, j - 1] + near,
                    fine[i - 1, j - 1] - 1e-6 * (move != "match"),
                    move,
                ),
            ]
            best = max(ways, key=lambda way: (way[0], way[1], rank[way[3]], way[2]))
            total[i, j], part[i, j], fine[i, j], trace[i, j] = best
    i, j, matches = len(gold), len(pred), 0
    while i and j:
        how = trace[i, j]
        matches += how == "match"
        i, j = i - (how != "skip_pred"), j - (how != "skip_gold")
    valid = sum(Chem.MolFromSmiles(step.smiles) is not None and step.smiles != "" for step in pred) / max(1, len(pred))
    last = (len(gold), len(pred))
    return round(total[last], 2), round(part[last], 2), round(valid, 2), round(matches / len(gold), 2)


def test_mechanisms_are_aligned_and_scored_as_upstream_does():
    """300 drawn pairs of mechanisms: equal, near and other molecules, few subtypes, so that many alignments tie."""
    draw = random.Random(11)
    pool = [
        "",
        "C1CC",
        "CCO",
        "OCC",
        "CC[O-]",
        "CCCO",
        "CCCCO",
        "CCCCCO",
        "CC(C)=O",
        "c1ccccc1",
        "Cc1ccccc1",
        "C[C+](C)C",
    ]
    seen = set()
    with rdBase.BlockLogs():
        for _ in range(300):
            weights = [draw.random() for _ in range(draw.randint(1, 6))]
            gold = [Step(draw.choice("ab"), draw.choice(pool), weight / math.fsum(weights)) for weight in weights]
            pred = [Step(draw.choice("abc"), draw.choice(pool)) for _ in range(draw.randint(0, 7))]
            for step in gold:  # some of the right steps, now and then in another spelling
                if draw.random() < 0.5:
                    pred.insert(draw.randint(0, len(pred)), Step(step.subtype, canonical(step.smiles) or step.smiles))
            found = tuple(compared(gold, pred))
            assert found == old_omes(gold, pred), (gold, pred)
            seen.add(found)
    assert len(seen) > 150


def mechanism(*weights: float | None) -> dict[str, object]:
    steps = zip(("CCO", "CC=O", "CC(=O)O"), weights, strict=False)
    return {"mechanism": [{"subtype": "s", "intermediate_smiles": one, "step_weight": weight} for one, weight in steps]}


def said(*smiles: str) -> str:
    return json.dumps([{"subtype": "s", "intermediate_smiles": one} for one in smiles])


def test_a_card_can_make_another_of_the_four_scores_its_own():
    for name, score in {"S_total": 0.2, "S_partial": 0.2, "V": 1, "L": 0.5}.items():
        spec = MetricSpec(name="omes", options={"score": name})
        assert judge(said("CCO"), "x", spec, mechanism(0.2, 0.8)).score == score, name


@pytest.mark.parametrize("weights", [(None, None), (0, 0)])
def test_steps_without_weights_count_alike(weights):
    assert judge(said("CC=O"), "x", OMES, mechanism(*weights)).score == 0.5


@pytest.mark.parametrize("steps", [None, [], [{"subtype": "s"}], "CCO"])
def test_a_row_whose_mechanism_is_none_is_marked_and_stops_nothing(steps):
    found = judge(said("CCO"), "x", OMES, {"mechanism": steps})
    assert (found.score, found.flags, dict(found.also)["V"]) == (0, ("odd_reference",), 0)


def test_a_card_that_keeps_no_mechanism_is_told_so():
    with pytest.raises(UsageProblem, match="needs the column mechanism"):
        judge(said("CCO"), "x", OMES, {})
