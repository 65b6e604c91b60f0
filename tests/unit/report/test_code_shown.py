"""``hpc-trex show`` gives the code of a python step whole, and nothing in it can steer the terminal."""

from __future__ import annotations

from hpc_trex.models import AttemptView, JobKind, NodeState, NodeView, RoundPlan, TrialState, TrialView
from hpc_trex.report.tables import node_text


def test_the_code_stands_below_the_recipe_line_by_line_and_tame():
    code = "def transform(row):\n\treturn row  # \x1b[2J\u202e naive ü\r\n"
    steps = [{"op": "load", "source": "a"}, {"op": "python", "code": code}]
    plan = RoundPlan.model_validate({"hypothesis": "h", "data": {"steps": steps}, "trials": [{}]})
    text = node_text(NodeView(id=1, parent=0, depth=1, state=NodeState.DONE, plan=plan), [])
    lines = text.splitlines()
    assert "  python map (2 lines, sha " in text
    at = lines.index("code of step 2")
    assert lines[at + 1] == "  def transform(row):"
    assert lines[at + 2] == "  \treturn row  # \\x1b[2J\\u202e naive ü"
    assert "\x1b" not in text


def test_the_words_of_a_job_that_failed_cannot_steer_the_terminal() -> None:
    """An exception's text is whatever the code of an agent, or a model's template, made of it."""
    words = "KeyError: \x1b]0;mine\x07\x1b[2J"
    trial = TrialView(node=1, trial=1, state=TrialState.FAILED, kind=JobKind.TRAIN, failure="CONFIG", message=words)
    attempt = AttemptView(
        node=1,
        trial=1,
        attempt=1,
        kind="train",
        state="failed",
        token="t",
        directory="d",
        failure="CONFIG",
        message=words,
    )
    view = NodeView(
        id=1,
        parent=0,
        depth=1,
        state=NodeState.FAILED,
        failure="CONFIG",
        message=words,
        report=f"No score.\n{words}",
        trials=(trial,),
    )
    text = node_text(view, [attempt])
    assert text.count("KeyError:  ]0;mine  [2J") == 4
    assert all(sign.isprintable() or sign == "\n" for sign in text)
