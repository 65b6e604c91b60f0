"""The reading of a round: bad cases by kind, gains against the noise, and claims that follow the evidence."""

from __future__ import annotations

from tree_view import FakeTree, card

from hpc_trex.agents.bad_cases import bad_rows, confusions
from hpc_trex.agents.evidence import Gain
from hpc_trex.agents.lessons import claim_of, verdict
from hpc_trex.agents.movement import case_report, outcomes
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.agents.protocol import Sample
from hpc_trex.models import FailureClass

PLAYBOOK = PlaybookResearcher()


def row(number: int, score: float, answer: str = "x", reference: str = "y", flags: tuple[str, ...] = ()) -> Sample:
    return Sample(f"dev:{number}", f"question {number}", answer, reference, score, flags)


def grown(*rounds: tuple[float, float], **extra) -> FakeTree:
    tree = FakeTree()
    tree.noise_sd = 0.01
    for scores in rounds:
        tree.finish(tree.add(0, PLAYBOOK.propose(tree, 0, seed=1)), list(scores), **extra)
    return tree


def test_confused_labels_are_counted() -> None:
    rows = [row(n, 0.0, "stock", "billing", ("other_label",)) for n in range(3)]
    rows += [
        row(9, 0.0, "billing", "stock", ("other_label",)),
        row(10, 1.0),
        row(11, 0.0, "?", "stock", ("unparsable",)),
    ]
    assert confusions(rows, ("stock", "billing")) == [("billing", "stock", 3), ("stock", "billing", 1)]
    assert confusions(rows, ()) == []


def test_rows_of_a_graded_metric_are_bad_below_half_of_the_best() -> None:
    assert len(bad_rows([row(1, 80.0), row(2, 50.0), row(3, 30.0)])) == 1
    assert len(bad_rows([row(1, 0.0), row(2, 0.0)])) == 2
    assert bad_rows([]) == []
    assert [one.row_id for one in bad_rows([row(1, 0.1), row(2, 0.9)], higher_is_better=False)] == ["dev:2"]


def test_the_report_holds_score_interval_trials_moves_and_examples() -> None:
    tree = grown((0.40, 0.50), (0.45, 0.38), extra={"empty": 0.1, "train_loss": 0.5, "holdout_loss": 0.6})
    rows = [row(1, 1.0), row(2, 0.0, "a\nb", "c")]
    cases = case_report(tree.task, 2, 1, outcomes(rows, tree.task), "node 0 has no evaluated rows (done)")
    report = PLAYBOOK.diagnose(tree, 2, rows, cases).report
    for part in (
        "Score 0.450 (confidence interval 0.390 to 0.510)",
        "Against its parent, node 0: +0.180, a clear gain",
        "Trial 2 (epochs-up): 0.380",
        "Move clean: +0.050, a clear gain",
        "Move epochs-up: -0.070, a clear loss",
        "Bad cases: 1 of 2 rows",
        "- content: 1 (50%)",
        "Rows not compared: node 0 has no evaluated rows (done).",
        "'question 2' gave 'a b', wanted 'c'",
        "Answers empty: 10%",
        "0.500 on training rows, 0.600 on held-out rows",
    ):
        assert part in report


def test_insights_name_move_gain_and_nodes() -> None:
    tree = grown((0.40, 0.50))
    tree.lessons = list(PLAYBOOK.diagnose(tree, 1, []).insights)
    assert [one.kind for one in tree.lessons] == ["move:lr-up"]
    tree.finish(tree.add(0, PLAYBOOK.propose(tree, 0, seed=1)), [0.45, 0.38])
    found = {insight.kind: insight for insight in PLAYBOOK.diagnose(tree, 2, []).insights}
    assert found["move:clean"].text == "clean gained +0.050 (node 2)"
    assert found["move:clean"].nodes == (2,)
    assert found["move:epochs-up"].text.startswith("epochs-up lost -0.070")
    assert "move:lr-up" not in found  # it stands already, and this round tells nothing new of it


def test_a_gain_within_the_noise_is_no_insight() -> None:
    tree = grown((0.40, 0.41))
    assert list(PLAYBOOK.diagnose(tree, 1, []).insights) == []


def test_a_failed_round_is_reported_with_its_class() -> None:
    tree = grown((0.40, 0.41))
    number = tree.add(0, PLAYBOOK.propose(tree, 0, seed=1))
    tree.finish(number, [FailureClass.OOM, FailureClass.OOM])
    diagnosis = PLAYBOOK.diagnose(tree, number, [])
    assert "no score: OOM" in diagnosis.report
    assert [insight.text for insight in diagnosis.insights] == ["clean made the training fail (node 2)"]


def test_claims_merge_weaken_and_contradict() -> None:
    def claim(*values: float) -> str:
        found = claim_of("m", [Gain("m", node, value) for node, value in enumerate(values, start=1)], 0.01)
        return found.text if found else ""

    assert claim(0.10) == "m gained +0.100 (node 1)"
    assert claim(0.10, 0.06) == "m gained +0.080 (nodes 1, 2)"
    assert claim(0.10, -0.08) == "m depends on what stands around it: +0.100 (node 1), but -0.080 (node 2)"
    assert claim(0.01) == ""
    assert claim(0.01, -0.01) == "m makes no clear difference: +0.000 in 2 pairs (nodes 1, 2)"


def test_without_measured_noise_the_interval_decides() -> None:
    tree = FakeTree()
    tree.finish(tree.add(0, PLAYBOOK.propose(tree, 0, seed=1)), [0.40, 0.45])
    assert "within the noise" in PLAYBOOK.diagnose(tree, 1, []).report.split("Move lr-up")[1]


def test_a_lower_score_is_a_gain_where_the_metric_says_so() -> None:
    tree = FakeTree(card(higher=False))
    tree.noise_sd = 0.01
    tree.finish(tree.add(0, PLAYBOOK.propose(tree, 0, seed=1)), [0.20, 0.10])
    assert "+0.170, a clear gain" in PLAYBOOK.diagnose(tree, 1, []).report


def test_a_verdict_grows_firmer_with_more_pairs() -> None:
    assert "within" in verdict(0.02, 1, 0.01)
    assert verdict(0.02, 4, 0.01) == "a clear gain"
    assert verdict(-0.02, 4, 0.01) == "a clear loss"
