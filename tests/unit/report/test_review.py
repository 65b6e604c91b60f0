"""What ``show`` and the report say of a claim: findings, verdicts, and whether a gain is one."""

from __future__ import annotations

import pytest

from hpc_trex.models import (
    ClaimFinding,
    JobKind,
    JobResult,
    NodeState,
    NodeView,
    Score,
    TrialState,
    TrialView,
    VerdictView,
)
from hpc_trex.report.review import gain_note, review_lines

BAD = ClaimFinding(check="score", severity="strike", text="it gives 0.1", record="nodes/0001/x")


def node(score: float, *findings: ClaimFinding, number: int = 1, struck: bool = False) -> NodeView:
    main = Score(metric="exact_match", value=score, low=score - 0.02, high=score + 0.02, n=200)
    trial = TrialView(
        node=number, trial=1, state=TrialState.DONE, kind=JobKind.TRAIN, score=score, findings=findings, struck=struck,
        result=JobResult(token="t", state="succeeded", scores={"main": main}),
    )  # fmt: skip
    return NodeView(id=number, parent=0, depth=1, state=NodeState.DONE, score=score, best_trial=1, trials=(trial,))


@pytest.mark.parametrize(
    ("score", "noise", "higher", "told"),
    [
        (0.504, 0.011, True, "not a gain: +0.004 over node 0 with noise 0.011 (a gain is above 0.031)"),
        (0.496, 0.011, False, "not a gain: +0.004"),
        (0.532, 0.011, True, None),
        (0.49, 0.011, True, None),
        (0.51, None, True, "with a sampling error of 0.010"),
    ],
)
def test_a_gain_within_the_noise_is_said_to_be_none(score, noise, higher, told):
    found = gain_note(node(score), node(0.5, number=0), noise=noise, higher=higher)
    assert (found is None) if told is None else told in found.text


def test_nothing_found_is_said_and_nobody_looked_is_not():
    assert review_lines(node(0.6)) == ["nothing found in the records of 1 trial(s)"]
    unread = node(0.6).model_copy(update={"trials": ()})
    assert review_lines(unread) == []


def test_a_strike_that_a_person_has_overruled_says_so():
    said = [VerdictView(node=1, struck=False, note="I looked", user="eve", time="2026-01-02T03:04:05.678+00:00")]
    lines = review_lines(node(0.6, BAD), verdicts=said)
    assert lines == [
        "restored by eve, 2026-01-02 03:04 UTC: I looked",
        "trial 1  overruled  score: it gives 0.1  [nodes/0001/x]",
    ]
    assert review_lines(node(0.6, BAD, struck=True))[0].startswith("trial 1  strike  score")
